import pickle
import sys
import tarfile
import zipfile

import ml_dtypes
import numpy as np
import pytest

from asymtrack_jax.convert.torch_reader import open_state_dict
from asymtrack_jax.errors import InputError
from tests.convert import torch_files
from tests.convert.torch_files import (
    call,
    instance,
    mapping,
    name,
    plain,
    sequence,
    state_dict,
    storage,
    tensor,
)

FLOAT = "torch.FloatStorage"
ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.pth.tar"


def read(path, key="net"):
    with open_state_dict(path, key) as tensors:
        return {name: tensor.read() for name, tensor in tensors.items()}


def fails(path, *parts):
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    for part in parts:
        assert part in message, message


def save_beside(path, beside):
    torch_files.save_checkpoint(path, {"a": ARRAY}, beside={"beside": beside})


def save_tensor(path, content):
    torch_files.save(path, mapping({"net": state_dict({"a": content})}), [ARRAY.tobytes()])


@pytest.mark.parametrize("dtype", torch_files.STORAGES)
def test_reads_tensors(path, dtype):
    torch_files.save_checkpoint(path, {"a": ARRAY.astype(dtype), "scalar": np.ones((), dtype)})
    arrays = read(path)
    assert arrays["a"].dtype == dtype
    np.testing.assert_array_equal(arrays["a"], ARRAY.astype(dtype))
    np.testing.assert_array_equal(arrays["scalar"], np.ones((), dtype))


def test_reads_views_of_a_shared_storage(path):
    shared = storage(FLOAT, "0", 6)
    tensors = {"whole": tensor(shared, (2, 3)), "part": tensor(shared, (2, 2), (1, 3), 1)}
    torch_files.save(path, mapping({"net": state_dict(tensors)}), [ARRAY.tobytes()])
    np.testing.assert_array_equal(read(path)["whole"], ARRAY)
    np.testing.assert_array_equal(read(path)["part"], ARRAY[:, 1:].T)


def test_reads_parameters(path):
    wrapped = tensor(storage(FLOAT, "0", 6), (2, 3))
    save_tensor(path, call("torch._utils._rebuild_parameter", wrapped, plain(True), plain({})))
    np.testing.assert_array_equal(read(path)["a"], ARRAY)


def test_reads_only_what_is_asked_for(path):
    other = tensor(storage(FLOAT, "no such record", 10**9), (10**9,))
    save_beside(path, mapping({"state": other}))
    np.testing.assert_array_equal(read(path)["a"], ARRAY)


@pytest.mark.parametrize(
    "beside",
    [
        instance("lib.train.admin.settings.Settings", mapping({"env": plain({"dir": "/x"})})),
        call("lib.train.admin.stats.AverageMeter", plain(1.0)),
        name("yacs.config.CfgNode") + b")\x81" + mapping({"a": plain(1)})[1:],
        name("their.list") + b")\x81" + plain([1, 2])[3:],
        instance("subprocess.Popen", plain({"args": "never started"})),
        call("copy_reg._reconstructor", name("lib.Old"), name("__builtin__.object"), plain(None)),
        call("argparse.Namespace"),
        call("collections.defaultdict", name("__builtin__.list")),
        call("datetime.datetime", plain(b"\x07\xe9\x03\x04\0\0\0\0\0\0")),
        call("numpy.core.multiarray.scalar", call("numpy.dtype", plain("f8")), plain(b"8 bytes")),
        call("numpy.random.bit_generator.__pyx_unpickle_SeedSequence", name("a.B"), plain(1)),
        call("pathlib.PosixPath", plain("/x")),
        call("torch.device", plain("cuda"), plain(0)),
        call("torch._utils._rebuild_sparse_tensor", plain(0)),
        name("torch.float16"),
        plain({(1, (2, 3)): 4, 5: 6, None: 7}),
        plain({"sets": {1, 2}, "complex": 1j, "bytes": b"\xff", "range": range(3)}),
    ],
)
def test_objects_beside_are_inert(path, beside):
    save_beside(path, beside)
    np.testing.assert_array_equal(read(path)["a"], ARRAY)


@pytest.mark.parametrize(
    ("named", "reported"),
    [
        ("os.system", "os.system"),
        ("posix.system", "posix.system"),
        ("nt.system", "nt.system"),
        ("subprocess.Popen", "subprocess.Popen"),
        ("commands.getoutput", "subprocess.getoutput"),
        ("__builtin__.eval", "builtins.eval"),
        ("builtins.exec", "builtins.exec"),
        ("__builtin__.getattr", "builtins.getattr"),
        ("builtins.__import__", "builtins.__import__"),
        ("functools.partial", "functools.partial"),
        ("runpy.run_path", "runpy.run_path"),
        ("cPickle.loads", "pickle.loads"),
        ("numpy.load", "numpy.load"),
        ("torch.hub.load", "torch.hub.load"),
    ],
)
def test_calls_are_refused_and_never_made(path, tmp_path, named, reported):
    mark = tmp_path / "executed"
    argument = plain(f"touch {mark}")
    module, _, function = named.rpartition(".")
    instructions = {
        "REDUCE": call(named, argument),
        "INST": b"(" + argument + f"i{module}\n{function}\n".encode(),
        "OBJ": b"(" + name(named) + argument + pickle.OBJ,
    }
    for content in instructions.values():
        save_beside(path, content)
        fails(path, "not safe", f"call {reported}", "Nothing was run")
        save_tensor(path, content)
        fails(path, "not safe", f"call {reported}")
    assert not mark.exists()


def test_nothing_is_imported_or_called(path, tmp_path, monkeypatch):
    (tmp_path / "trap.py").write_text("raise SystemExit\n")
    monkeypatch.syspath_prepend(tmp_path)
    save_beside(path, call("trap.function", instance("trap.Class", plain({}))))
    np.testing.assert_array_equal(read(path)["a"], ARRAY)
    assert "trap" not in sys.modules


def test_an_inert_object_is_no_tensor(path):
    save_tensor(path, call("lib.evil.run"))
    fails(path, "not a tensor: a")


@pytest.mark.parametrize("key", [1, (1, 2), "a\nb"])
def test_a_state_dict_has_plain_names(path, key):
    pair = plain(key) + tensor(storage(FLOAT, "0", 6), (2, 3))
    net = pickle.EMPTY_DICT + pair + pickle.SETITEM
    torch_files.save(path, mapping({"net": net}), [ARRAY.tobytes()])
    fails(path, "not a tensor: ")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (tensor(storage(FLOAT, "0", 7), (2, 3)), "7 values in a record of 24 bytes"),
        (tensor(storage("torch.DoubleStorage", "0", 6), (2, 3)), "6 values in a record of 24"),
        (tensor(storage(FLOAT, "1", 6), (2, 3)), "record 'data/1' is missing"),
        (tensor(storage(FLOAT, "0", 6), (3, 3)), "does not fit"),
        (tensor(storage(FLOAT, "0", 6), (2, 3), offset=1), "does not fit"),
        (tensor(storage(FLOAT, "0", 6), (2, 3), (4, 1)), "does not fit"),
        (tensor(storage(FLOAT, "0", 6), (10**15,), (0,)), "does not fit"),
        (tensor(storage(FLOAT, "0", 6), (2, 3), offset=-1), "invalid sizes"),
        (tensor(storage(FLOAT, "0", 6), (2, 3), (-3, 1)), "invalid sizes"),
        (tensor(storage(FLOAT, "0", 6), (2, 3), (3,)), "invalid sizes"),
        (tensor(storage(FLOAT, "0", 6), (2.0, 3)), "invalid sizes"),
        (tensor(storage(FLOAT, "0", 6), (2**70,)), "invalid sizes"),
        (tensor(storage(FLOAT, "0", "6"), (2, 3)), "invalid sizes"),
        (tensor(plain("no storage"), (2, 3)), "no storage"),
        (tensor(storage(FLOAT, "0", 6), (2, 3)) + plain({"shape": (1,)}) + b"b", "attributes"),
        (tensor(sequence(plain("module")) + b"Q", (2, 3)), "not a valid pickle"),
        (plain("a")[:1] + (2**31).to_bytes(4, "little") + b"a", "not a valid pickle"),
        (plain(1) + b"r" + (2**31).to_bytes(4, "little"), "memo index"),
        (pickle.BINBYTES8 + (2**62).to_bytes(8, "little"), "not a valid pickle"),
    ],
)
def test_sizes_that_lie(path, content, part):
    save_tensor(path, content)
    fails(path, "damaged", part)


def test_record_that_is_not_as_written(path):
    save_tensor(path, tensor(storage(FLOAT, "0", 6), (2, 3)))
    content = path.read_bytes()
    path.write_bytes(content.replace(ARRAY.tobytes(), ARRAY[::-1].tobytes()))
    fails(path, "damaged", "data/0")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10**6)
    fails(path, "compressed")


def test_files_of_another_kind(path, tmp_path):
    fails(path, "not a file")
    fails(tmp_path, "not a file")
    torch_files.save_checkpoint(path, {"a": ARRAY})
    with tarfile.open(tmp_path / "archive.tar", "w") as archive:
        archive.add(path, "net.pth")
    tar = (tmp_path / "archive.tar").read_bytes()
    for content, part in [
        (b"", "empty"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2), "before PyTorch 1.6"),
        (tar, "tar"),
        (b"\x1f\x8b\x08" + bytes(20), "gzip"),
        (b"anything else", "format is unknown"),
    ]:
        path.write_bytes(content)
        fails(path, "not a PyTorch checkpoint", part)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<xml/>")
    fails(path, "zip archive", "data.pkl")


def test_zip_archives_without_a_state_dict(path):
    torch_files.save(path, plain([1, 2]))
    fails(path, "no state dict 'net'")
    torch_files.save(path, mapping({"net": plain([1, 2])}))
    fails(path, "no state dict 'net'")
    torch_files.save_checkpoint(path, {"a": ARRAY}, key="state_dict")
    fails(path, "no state dict 'net', only state_dict", "--backbone")
    torch_files.save(path, mapping({"net": mapping({"a": plain(1)})}))
    fails(path, "not a tensor: a")


def test_big_endian(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/byteorder", "big")
    fails(path, "big-endian")


def test_types_that_numpy_lacks_are_left_to_the_caller(path):
    save_tensor(path, tensor(storage("torch.QInt8Storage", "0", 6), (2, 3)))
    with open_state_dict(path, "net") as tensors:
        assert tensors["a"].dtype is None


def test_bfloat16_is_exact(path):
    array = np.array([1.0, 3.140625, -(2.0**100)], ml_dtypes.bfloat16)
    torch_files.save_checkpoint(path, {"a": array})
    np.testing.assert_array_equal(read(path)["a"].astype(np.float32), [1.0, 3.140625, -(2.0**100)])
