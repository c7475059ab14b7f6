import importlib
from pathlib import Path

import pytest

from asymtrack_jax.config import Config
from asymtrack_jax.configs.loading import NAMES, load_config
from asymtrack_jax.errors import InputError

FORWARDERS = Path(__file__).parent.parent / "configs"


@pytest.mark.parametrize("name", NAMES)
def test_configurations_say_what_they_cost_and_how_to_run_them(name: str):
    config = load_config(name)
    assert isinstance(config, Config)
    assert load_config(str(FORWARDERS / f"{name}.py")) == config
    module = importlib.import_module(f"asymtrack_jax.configs.{name}")
    assert any(verb in str(module.__doc__) for verb in ("Trains on", "Takes"))
    assert f"asymtrack train --config {name}" in str(module.__doc__)


def test_the_checkout_forwards_to_each():
    assert {path.stem for path in FORWARDERS.glob("*.py")} == set(NAMES)


@pytest.mark.parametrize("content", [None, "", "def get_config():\n    return 1"])
def test_a_configuration_file_that_is_none(content: str | None, tmp_path: Path):
    path = tmp_path / "mine.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=f"--config: .*{path.name}"):
        load_config(str(path))


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
        load_config(str(path))
    first, *trace = str(caught.value).splitlines()
    assert first.startswith(f"--config: {path} raised ")
    assert message in first
    assert any(f'"{path}", line {len(content.splitlines())}' in line for line in trace)


def test_a_configuration_file_may_import_from_the_current_folder(tmp_path: Path, monkeypatch):
    """As the recipes do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    (tmp_path / "shared_settings.py").write_text("SEED = 7")
    (tmp_path / "mine.py").write_text(
        "from asymtrack_jax.config import Config\n"
        "from shared_settings import SEED\n"
        "def get_config():\n    return Config(seed=SEED)"
    )
    assert load_config("mine.py").seed == 7
