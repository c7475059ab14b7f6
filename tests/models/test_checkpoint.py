import json

import jax
import ml_dtypes
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
    """Changes arrays (None removes one) and entries of the header, which gets no digest."""
    path = directory / checkpoint.FILE_NAME
    with safetensors.safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        header = {**file.metadata(), **(header or {})}
    del header["sha256"]
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
    (directory / "opened before").hardlink_to(directory / checkpoint.FILE_NAME)
    checkpoint.save(directory, CONFIG, variables, {"made": "again"}, overwrite=True)
    assert checkpoint.read(directory).metadata == {"made": "again"}
    assert (directory / "notes.txt").read_text() == "mine"
    assert (directory / "opened before").read_bytes() == before  # replaced, not written into


@pytest.mark.parametrize("dtype", [ml_dtypes.bfloat16, np.float16, np.float64])
def test_any_precision_is_read_as_single(tmp_path, variables, dtype):
    written = jax.tree.map(lambda array: array.astype(dtype), variables)
    checkpoint.save(tmp_path / "c", CONFIG, written, {})
    read = checkpoint.read(tmp_path / "c").variables
    assert {array.dtype for array in jax.tree.leaves(read)} == {np.dtype(np.float32)}
    jax.tree.map(np.testing.assert_array_equal, read, written)


def test_equal_checkpoints_are_equal_bytes(tmp_path, variables):
    reversed_order = {name: variables[name] for name in reversed(list(variables))}
    assert list(reversed_order) != list(variables)
    contents = set()
    for trial in range(8):  # of a hash table, whose order is drawn anew each time
        given, about = variables, {"a": 1, "b": 2}
        if trial % 2:
            given, about = reversed_order, {"b": 2, "a": 1}
        path = checkpoint.save(tmp_path / "c", CONFIG, given, about, overwrite=True)
        contents.add(path.read_bytes())
    assert len(contents) == 1


def test_arrays_in_another_memory_order(tmp_path, variables):
    transposed = jax.tree.map(np.asfortranarray, variables)
    checkpoint.save(tmp_path / "c", CONFIG, transposed, {})
    jax.tree.map(
        np.testing.assert_array_equal, checkpoint.read(tmp_path / "c").variables, variables
    )


def test_any_flipped_bit_is_found(directory):
    """The header's too: what it tells of scores and crops is as good as a weight."""
    path = directory / checkpoint.FILE_NAME
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    places = [content.index(b"made by"), content.index(b"search_factor") + 19]
    places += range(start, len(content), (len(content) - start) // 20)
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="is damaged: its sha256"):
            checkpoint.read(directory)


def test_a_file_without_a_digest_is_read(directory, variables):
    rewrite(directory)
    read = checkpoint.read(directory).variables
    jax.tree.map(np.testing.assert_array_equal, read, variables)


NECK = CONFIG.feature_dim


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"params/neck/bias": None}, "missing: params/neck/bias"),
        ({"params/neck/extra": np.zeros(1, np.float32)}, "unknown: params/neck/extra"),
        ({"params/neck/bias": np.zeros(3, np.float32)}, r"shape of params/neck/bias: \(3,\)"),
        ({"params/neck/bias": np.zeros(NECK, np.int32)}, "type of params/neck/bias: I32"),
        (
            {"params/neck/bias": np.full(NECK, np.nan, np.float32)},
            "not finite, in params/neck/bias",
        ),
        ({"params/neck/bias": np.full(NECK, 1e300)}, "not finite, in params/neck/bias"),
        ({"header": {"model": "{"}}, "not a checkpoint of this project"),
        ({"header": {"model": "[]"}}, "not a checkpoint of this project"),
        ({"header": {"model": '{"depth": 3}'}}, "depth"),
        ({"header": {"model": "[" * 100_000}}, "not a checkpoint of this project"),
        ({"header": {"about": "[" * 100_000}}, "not a checkpoint of this project"),
        ({"header": {"about": "[]"}}, "metadata should be names and values"),
        ({"header": {"about": json.dumps("a" * 2**20)}}, "header takes more than 1 MiB"),
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


def test_types_that_numpy_lacks_are_named(directory):
    bias = np.zeros(NECK, ml_dtypes.float8_e5m2)
    rewrite(directory, **{"params/neck/bias": bias})
    with pytest.raises(InputError, match="type of params/neck/bias: F8_E5M2, expected one of F64"):
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


def test_a_file_is_no_directory(tmp_path, variables):
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(InputError, match="is a file"):
        checkpoint.save(tmp_path / "file", CONFIG, variables, {}, overwrite=True)
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_no_checkpoint_there(tmp_path):
    with pytest.raises(InputError, match=r"no checkpoint at .*packaged weights"):
        checkpoint.read(tmp_path)
