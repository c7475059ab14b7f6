"""Writes files as `torch.save` does, without PyTorch: a pickle assembled by hand, and its records.

The functions up to `save` return pieces of a pickle (protocol 2): bytes that leave one value on the
unpickler's stack.
"""

import math
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

STORAGES = {
    np.dtype(np.float32): "torch.FloatStorage",
    np.dtype(np.float64): "torch.DoubleStorage",
    np.dtype(np.float16): "torch.HalfStorage",
    np.dtype(ml_dtypes.bfloat16): "torch.BFloat16Storage",
    np.dtype(np.int64): "torch.LongStorage",
    np.dtype(np.bool_): "torch.BoolStorage",
}


def plain(value: Any) -> bytes:
    return pickle.dumps(value, 2).removeprefix(pickle.PROTO + b"\x02").removesuffix(pickle.STOP)


def name(path: str) -> bytes:
    module, _, attribute = path.rpartition(".")
    return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()


def sequence(*items: bytes) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def mapping(items: Mapping[str, bytes]) -> bytes:
    pairs = b"".join(plain(key) + value for key, value in items.items())
    return pickle.EMPTY_DICT + pickle.MARK + pairs + pickle.SETITEMS


def call(path: str, *arguments: bytes) -> bytes:
    return name(path) + sequence(*arguments) + pickle.REDUCE


def instance(path: str, state: bytes) -> bytes:
    return name(path) + pickle.EMPTY_TUPLE + pickle.NEWOBJ + state + pickle.BUILD


def storage(path: str, key: str, size: Any) -> bytes:
    reference = sequence(plain("storage"), name(path), plain(key), plain("cuda:0"), plain(size))
    return reference + pickle.BINPERSID


def tensor(stored: bytes, shape: Any, strides: Any = None, offset: Any = 0) -> bytes:
    if strides is None:
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
    rest = (plain(value) for value in (offset, shape, strides, False))
    hooks = call("collections.OrderedDict")
    return call("torch._utils._rebuild_tensor_v2", stored, *rest, hooks)


def state_dict(tensors: Mapping[str, bytes]) -> bytes:
    """An OrderedDict that carries attributes, as those of modules do."""
    items = mapping(tensors).removeprefix(pickle.EMPTY_DICT)
    return (
        call("collections.OrderedDict") + items + mapping({"_metadata": plain({})}) + pickle.BUILD
    )


def save(
    path: Path, content: bytes, records: Sequence[bytes] = (), folder: str = "archive"
) -> None:
    """Writes a file of a pickle and the records that its storages name `0`, `1`, ..."""
    with zipfile.ZipFile(path, "w") as archive:
        pickled = pickle.PROTO + b"\x02" + content + pickle.STOP
        archive.writestr(f"{folder}/data.pkl", pickled)
        archive.writestr(f"{folder}/byteorder", "little")
        for key, record in enumerate(records):
            archive.writestr(f"{folder}/data/{key}", record)
        archive.writestr(f"{folder}/version", "3\n")


def save_checkpoint(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    *,
    key: str = "net",
    beside: Mapping[str, bytes] | None = None,
) -> None:
    """Writes `{key: state dict of the arrays}` and whatever else is to be beside it."""
    tensors = {
        name: tensor(storage(STORAGES[array.dtype], str(i), array.size), array.shape)
        for i, (name, array) in enumerate(arrays.items())
    }
    content = mapping({key: state_dict(tensors)} | dict(beside or {}))
    save(path, content, [array.tobytes() for array in arrays.values()])
