"""The weights in the package, and the command that makes them."""

import copy
import hashlib
import importlib.resources
import tomllib
from pathlib import Path

import numpy as np
import pytest
import safetensors

import asymtrack_jax
from asymtrack_jax.config import VARIANTS
from asymtrack_jax.data.synthetic import render_clip
from asymtrack_jax.errors import InputError
from asymtrack_jax.models import checkpoint
from asymtrack_jax.weights import TINY
from asymtrack_jax.weights import __main__ as command

PACKAGE = importlib.resources.files("asymtrack_jax.weights")


def dtypes_of(path) -> set[str]:
    with safetensors.safe_open(path, framework="numpy") as file:
        return {str(file.get_tensor(name).dtype) for name in file.keys()}  # noqa: SIM118


def test_the_package_has_its_weights_and_their_card():
    with importlib.resources.as_file(PACKAGE / "tiny" / checkpoint.FILE_NAME) as path:
        assert path.stat().st_size <= command.MAX_BYTES
        assert dtypes_of(path) == {"float16"}
        loaded = checkpoint.read(path.parent)
    tiny = VARIANTS["tiny"]  # whose weights fit crops of any size
    assert (loaded.config.widths, loaded.config.depths) == (tiny.widths, tiny.depths)
    assert loaded.metadata["precision"] == "float16"
    assert len(loaded.metadata["rounded_from_sha256"]) == 64
    assert "calibration" in loaded.metadata
    assert "# " in (PACKAGE / "README.md").read_text()


def test_wheels_take_them_along():
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    patterns = settings["tool"]["setuptools"]["package-data"]["asymtrack_jax.weights"]
    taken = {path for pattern in patterns for path in TINY.parent.glob(pattern)}
    assert taken == {TINY.parent / "README.md", TINY / checkpoint.FILE_NAME}


def test_they_are_what_load_loads_and_can_track():
    model = asymtrack_jax.load()
    clip = render_clip(2, (120, 160))
    tracker = asymtrack_jax.Tracker(model)
    tracker.init(clip[0], clip.boxes[0])
    bbox, score = tracker.update(clip[1])
    assert np.isfinite(bbox).all()
    assert 0 < score < 1


def test_the_command_rounds_and_says_where_from(tmp_path, variables, capsys):
    about = {"kind": "trained", "step": 7}
    source = checkpoint.save(tmp_path / "best", VARIANTS["testing"], variables, about)
    command.main([str(tmp_path / "best"), "--output", str(tmp_path / "shipped")])
    assert "to zero" in capsys.readouterr().out
    assert dtypes_of(tmp_path / "shipped" / checkpoint.FILE_NAME) == {"float16"}
    shipped = checkpoint.read(tmp_path / "shipped")
    assert shipped.metadata == about | {
        "precision": "float16",
        "rounded_from_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
    }
    kernel = shipped.variables["params"]["neck"]["kernel"]
    np.testing.assert_allclose(kernel, variables["params"]["neck"]["kernel"], rtol=1e-3, atol=1e-7)
    with pytest.raises(InputError, match="exists"):
        command.main([str(tmp_path / "best"), "--output", str(tmp_path / "shipped")])


def test_values_beyond_half_precision_are_refused(tmp_path, variables):
    large = copy.deepcopy(variables)
    large["params"]["neck"]["bias"][3] = 7e4
    checkpoint.save(tmp_path / "large", VARIANTS["testing"], large, {})
    with pytest.raises(InputError, match="beyond float16's range, in params/neck/bias"):
        command.export_packaged_weights(tmp_path / "large", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_too_large_is_refused(tmp_path, variables, monkeypatch):
    checkpoint.save(tmp_path / "c", VARIANTS["testing"], variables, {})
    monkeypatch.setattr(command, "MAX_BYTES", 2**16)
    with pytest.raises(InputError, match="MiB in float16"):
        command.export_packaged_weights(tmp_path / "c", tmp_path / "out")
    assert not (tmp_path / "out").exists()
