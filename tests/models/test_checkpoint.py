import jax
import numpy as np
import pytest
import safetensors.numpy

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.errors import InputError
from asymtrack_jax.models import checkpoint

CONFIG = VARIANTS["testing"]


@pytest.fixture
def directory(tmp_path, variables):
    checkpoint.save(tmp_path / "testing", CONFIG, variables, {"made by": "a test"})
    return tmp_path / "testing"


def rewrite(directory, *, header=None, **changes):
    """Changes arrays (None removes one) and entries of the header."""
    path = directory / checkpoint.FILE_NAME
    with safetensors.safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = {**file.metadata(), **(header or {})}
    arrays = {name: array for name, array in (arrays | changes).items() if array is not None}
    safetensors.numpy.save_file(arrays, path, header)


def test_round_trip(directory, variables):
    loaded = checkpoint.read(directory)
    assert loaded.config == CONFIG
    assert loaded.metadata == {"made by": "a test"}
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, variables)
    assert [path.name for path in directory.iterdir()] == [checkpoint.FILE_NAME]


def test_an_existing_directory_is_kept_unless_told_otherwise(directory, variables):
    (directory / "notes.txt").write_text("mine")
    before = (directory / checkpoint.FILE_NAME).read_bytes()
    with pytest.raises(InputError, match="exists"):
        checkpoint.save(directory, CONFIG, variables, {})
    assert (directory / checkpoint.FILE_NAME).read_bytes() == before
    checkpoint.save(directory, CONFIG, variables, {"made": "again"}, overwrite=True)
    assert checkpoint.read(directory).metadata == {"made": "again"}
    assert (directory / "notes.txt").read_text() == "mine"


def test_half_precision_is_read_as_single(directory):
    bias = np.full(CONFIG.feature_dim, 0.5, np.float16)
    rewrite(directory, **{"params/neck/bias": bias})
    read = checkpoint.read(directory).variables["params"]["neck"]["bias"]
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, bias)


NECK = CONFIG.feature_dim


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"params/neck/bias": None}, "missing: params/neck/bias"),
        ({"params/neck/extra": np.zeros(1, np.float32)}, "unknown: params/neck/extra"),
        ({"params/neck/bias": np.zeros(3, np.float32)}, r"shape of params/neck/bias: \(3,\)"),
        ({"params/neck/bias": np.zeros(NECK, np.int32)}, "type of params/neck/bias: int32"),
        ({"params/neck/bias": np.full(NECK, np.nan, np.float32)}, "bias: not all finite"),
        ({"header": {"model": "{"}}, "not a checkpoint of this project"),
        ({"header": {"model": "[]"}}, "not a checkpoint of this project"),
        ({"header": {"model": '{"depth": 3}'}}, "depth"),
        ({"header": {"about": "[]"}}, "a table of names and values"),
    ],
)
def test_what_does_not_fit_is_named(directory, changes, message):
    rewrite(directory, **changes)
    with pytest.raises(InputError, match=message):
        checkpoint.read(directory)


def test_all_problems_are_reported_together(directory):
    rewrite(directory, **{"params/neck/bias": None, "params/neck/extra": np.zeros(1, np.float32)})
    with pytest.raises(InputError, match=r"(?s)missing.*unknown"):
        checkpoint.read(directory)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"\xff" * 8 + content[8:],  # a header larger than the file
        lambda content: b"<html>no such page</html>",
        lambda content: b"",
    ],
)
def test_a_damaged_file_is_one_clear_error(directory, damage):
    path = directory / checkpoint.FILE_NAME
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match="not a checkpoint of this project"):
        checkpoint.read(directory)


def test_no_checkpoint_there(tmp_path):
    with pytest.raises(InputError, match="no checkpoint at"):
        checkpoint.read(tmp_path)
