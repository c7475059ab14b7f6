from pathlib import Path

import pytest

from asymtrack_jax.config import Config
from asymtrack_jax.config_files import load_config
from asymtrack_jax.errors import InputError

CONFIGS = Path(__file__).parent.parent / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda path: path.stem)
def test_configuration_files_say_what_they_cost(path: Path):
    assert isinstance(load_config(path), Config)
    assert f"--config configs/{path.name}" in path.read_text().split('"""')[1]


@pytest.mark.parametrize("content", [None, "", "def get_config():\n    return 1"])
def test_a_configuration_file_that_is_none(content: str | None, tmp_path: Path):
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=f"--config: .*{path.name}"):
        load_config(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def get_config():\n    return 1 / 0", "ZeroDivisionError"),
        ("import no_such_module", "no_such_module"),
        ("def get_config(:", "SyntaxError"),
    ],
)
def test_a_configuration_file_that_raises_is_named_with_its_line(
    content: str, message: str, tmp_path: Path
):
    path = tmp_path / "mine.py"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        load_config(path)
    first, *trace = str(caught.value).splitlines()
    assert first.startswith(f"--config: {path} raised ")
    assert message in first
    assert any(f'"{path}", line {len(content.splitlines())}' in line for line in trace)
