import re
import sys
import tomllib
from pathlib import Path

import pytest

import asymtrack_jax
from asymtrack_jax.cli import main as cli
from asymtrack_jax.errors import InputError

ROOT = Path(__file__).parents[2]


def test_help_lists_every_command(capsys):
    assert cli.main(["--help"]) == 0
    listed = re.findall(r"^  (\w+)  ", capsys.readouterr().out, re.M)
    assert listed == list(cli.COMMANDS)


def test_version(capsys):
    cli.main(["--version"])
    assert capsys.readouterr().out == f"asymtrack {asymtrack_jax.__version__}\n"


def test_an_unknown_command_is_refused_with_the_closest():
    with pytest.raises(InputError, match="did you mean 'export'"):
        cli.main(["exprot"])


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself_under_one_program_name(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main([command, "--help"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: asymtrack {command} ")


def test_a_missing_extra_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "trax", None)
    monkeypatch.setitem(sys.modules, "asymtrack_jax.cli.vot", _Needs("trax"))
    with pytest.raises(InputError, match=r"asymtrack vot needs trax.*pip install -e '\.\[vot\]'"):
        cli.main(["vot"])


def test_modules_of_the_current_folder_can_be_imported(tmp_path, monkeypatch):
    """By the console command too, whose `sys.path` lacks that folder."""
    folders = [folder for folder in sys.path if folder not in ("", str(Path.cwd()))]
    monkeypatch.setattr(sys, "path", folders)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "module_of_the_test.py").write_text("raise SystemExit(3)")
    monkeypatch.setattr(sys, "argv", ["asymtrack", "vot"])
    monkeypatch.setitem(sys.modules, "asymtrack_jax.cli.vot", _Needs("module_of_the_test"))
    with pytest.raises(SystemExit) as exited:
        cli.script()
    assert exited.value.code == 3


class _Needs:
    def __init__(self, name: str):
        self.main = lambda _: __import__(name)


def test_extras_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(cli.EXTRAS.values()) <= project["optional-dependencies"].keys()


def test_the_public_names_are_visible_and_importable():
    assert set(asymtrack_jax.__all__) <= set(dir(asymtrack_jax))
    for name in asymtrack_jax.__all__:
        assert getattr(asymtrack_jax, name) is not None
