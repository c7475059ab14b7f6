"""Safe reader of tensors in files that `torch.save` wrote, without PyTorch.

Such a file is a zip archive: `NAME/data.pkl` is a pickle of the saved object, which refers to one
record `NAME/data/KEY` of values per tensor. Python's unpickler imports and calls any function that
the file names, and may hash large structures without end. Here `_unpickle` interprets the pickle's
opcodes. It never imports or calls what the file names; calls are handled as follows.

- The few functions that tensors and state dicts consist of: by equivalents defined here.
- Others from the standard library, numpy or torch: an error that names the call, unless the
  function constructs plain data (`_PLAIN_DATA`: dates, paths, numpy scalars, ...).
- All others: by the placeholder `_INERT`, since published checkpoints hold objects of classes that
  exist only in their authors' repositories.

The three limits below bound time and memory.
"""

import contextlib
import dataclasses
import io
import math
import pickle
import pickletools
import re
import struct
import sys
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import ml_dtypes
import numpy as np

from asymtrack_jax.errors import InputError

# A training checkpoint of the published network has some 900 records, the largest of 2.4 MB, and
# 50,000 opcodes in its pickle, most of them for the optimiser's state.
_MAX_DIRECTORY = 2**22  # bytes read to locate the records
_MAX_RECORD = 2**24  # bytes of a record, the pickle included
_MAX_OPCODES = 2**18

_DTYPES = {
    "torch.FloatStorage": np.dtype(np.float32),
    "torch.DoubleStorage": np.dtype(np.float64),
    "torch.HalfStorage": np.dtype(np.float16),
    "torch.BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "torch.LongStorage": np.dtype(np.int64),
    "torch.IntStorage": np.dtype(np.int32),
    "torch.ShortStorage": np.dtype(np.int16),
    "torch.CharStorage": np.dtype(np.int8),
    "torch.ByteStorage": np.dtype(np.uint8),
    "torch.BoolStorage": np.dtype(np.bool_),
}

_KNOWN_LIBRARIES = sys.stdlib_module_names | {"numpy", "torch"}

_PLAIN_DATA = re.compile(
    r"""
    _codecs\.encode  # how pickle writes bytes
    | argparse\.Namespace
    | builtins\.(bytearray|complex|dict|frozenset|list|object|range|set|slice)
    | collections\.(Counter|OrderedDict|defaultdict|deque)
    | copyreg\._reconstructor
    | datetime\.(date|datetime|time|timedelta|timezone)
    | decimal\.Decimal
    | fractions\.Fraction
    | numpy\.(dtype|random\.(_pickle|bit_generator)\.\w+)
    | numpy\._?core\.(multiarray\.(_reconstruct|scalar)|numeric\._frombuffer)
    | pathlib\.(_local\.)?(Pure)?(Path|PosixPath|WindowsPath)
    | torch\.(Size|device|_utils\._rebuild_\w+|serialization\._get_layout)
    | types\.SimpleNamespace
    """,
    re.VERBOSE,
)

_DAMAGED_ZIP = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError, struct.error)

_DAMAGED_PICKLE = (pickle.UnpicklingError, IndexError, KeyError, TypeError, ValueError)


@contextlib.contextmanager
def open_state_dict(path: Path, key: str) -> "Iterator[dict[str, Tensor]]":
    """Opens the state dict under a key of a checkpoint.

    The tensors' shapes and dtypes have been checked against the file; their values are read by
    `Tensor.read` while the context is open.

    Args:
        path: file written by `torch.save` of PyTorch 1.6 or newer.
        key: key of the state dict in the saved dict.

    Yields:
        The state dict, in the file's order.

    Raises:
        InputError: the file does not exist, is of another kind, damaged or unsafe, or has no state
            dict under that key.
    """
    with _open_archive(path) as archive:
        yield _state_dict(archive, key)


@dataclasses.dataclass(frozen=True)
class _Archive:
    """The zip archive, and the folder of its records."""

    path: Path
    zip: zipfile.ZipFile
    folder: str

    def fail(self, problem: str) -> NoReturn:
        one_line = problem.replace("\n", "\\n")  # names in the file may have several
        raise InputError(f"{self.path} {one_line}")

    def record(self, name: str) -> zipfile.ZipInfo:
        """Locates a record, and checks its size against the file's and the limit."""
        try:
            info = self.zip.getinfo(f"{self.folder}/{name}")
        except KeyError:
            self.fail(f"is damaged: record {name!r} is missing; download it again")
        if info.compress_type != zipfile.ZIP_STORED:
            self.fail(f"was not written by torch.save: record {name!r} is compressed")
        if info.file_size != info.compress_size or info.file_size > self.path.stat().st_size:
            self.fail(f"is damaged: record {name!r} claims to be larger than the file")
        if info.file_size > _MAX_RECORD:
            self.fail(
                f"is not a checkpoint of this network: its record {name!r} has {info.file_size:,} "
                f"bytes, more than {_MAX_RECORD:,}"
            )
        return info

    def read(self, name: str) -> bytes:
        info = self.record(name)
        try:
            return self.zip.read(info)
        except _DAMAGED_ZIP as error:
            self.fail(f"is damaged: record {name!r} cannot be read ({error}); download it again")


@dataclasses.dataclass(frozen=True)
class _Storage:
    """A record of values as described by the pickle, unchecked."""

    archive: _Archive
    type: str
    key: Any
    size: Any


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor whose values have not been read.

    Attributes:
        storage: record of the values, which tensors may share.
        offset: position of the first element in the storage.
        shape: sizes of the axes.
        strides: strides of the axes, in elements.
    """

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype | None:
        """Dtype of the values; None if numpy has no such dtype."""
        return _DTYPES.get(self.storage.type)

    def read(self) -> np.ndarray:
        """Reads the values, in the tensor's shape and dtype."""
        storage = self.storage
        numbers = np.frombuffer(storage.archive.read(f"data/{storage.key}"), self.dtype)
        itemsize = numbers.itemsize
        return np.lib.stride_tricks.as_strided(
            numbers[self.offset :],
            self.shape,
            [step * itemsize for step in self.strides],
            writeable=False,
        )

    def problem(self) -> str | None:
        """Describes what is invalid in the tensor's description; None if nothing is."""
        storage = self.storage
        if not isinstance(storage, _Storage) or not isinstance(storage.key, str):
            return "has no storage"
        if not (
            _is_sizes(self.shape)
            and _is_sizes(self.strides)
            and len(self.shape) == len(self.strides)
            and _is_sizes((self.offset, storage.size))
        ):
            return "has invalid sizes"
        steps = zip(self.shape, self.strides, strict=True)
        end = self.offset + sum((size - 1) * step for size, step in steps) + 1
        count = math.prod(self.shape)
        if count > storage.size or (count and end > storage.size):
            return f"of shape {self.shape} does not fit in its {storage.size} stored values"
        if self.dtype is not None:
            stored = storage.archive.record(f"data/{storage.key}").file_size
            if stored != storage.size * self.dtype.itemsize:
                return f"should have {storage.size} values in a record of {stored} bytes"
        return None


def _is_sizes(values: Any) -> bool:
    return (
        type(values) is tuple
        and len(values) <= 32
        and all(type(value) is int and 0 <= value < 2**63 for value in values)
    )


class _Unsafe(Exception):  # noqa: N818
    """The pickle asks for a call that no checkpoint needs."""


@dataclasses.dataclass(frozen=True)
class _Name:
    """A name that the pickle imports, such as `torch._utils._rebuild_tensor_v2`."""

    path: str


_INERT = object()  # placeholder of objects that are not needed


def _unpickle(content: bytes, archive: _Archive) -> Any:
    """Returns the pickled object: dicts with string keys, lists, tuples, plain values and tensors.

    Objects are not hashed, compared or printed, so that nesting and sharing cost nothing.
    """
    stack: list[Any] = []
    outer: list[list[Any]] = []  # the stacks below the marks
    memo: dict[int, Any] = {}
    operations: Iterator[Any] = pickletools.genops(content)
    for count, (opcode, argument, _) in enumerate(operations):
        if count == _MAX_OPCODES:
            raise pickle.UnpicklingError(f"it has more than {_MAX_OPCODES:,} opcodes")
        items = []
        if pickletools.markobject in opcode.stack_before:
            items, stack = stack, outer.pop()
        match opcode.name:
            case "PROTO" | "FRAME" | "POP_MARK" | "ADDITEMS":
                pass
            case "STOP":
                return stack.pop()
            case "MARK":
                outer.append(stack)
                stack = []
            case "POP":
                stack.pop()
            case "DUP":
                stack.append(stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                index = len(memo) if argument is None else argument
                if not 0 <= index <= count:
                    raise pickle.UnpicklingError("it has a memo index that is too large")
                memo[index] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "EMPTY_TUPLE" | "TUPLE":
                stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                size = int(opcode.name[-1])
                stack[-size:] = [tuple(stack[-size:])]
            case "EMPTY_LIST" | "LIST":
                stack.append(items)
            case "APPEND":
                _extend(stack[-2], [stack.pop()])
            case "APPENDS":
                _extend(stack[-1], items)
            case "EMPTY_DICT" | "DICT":
                stack.append({})
                _set_items(stack[-1], items)
            case "SETITEM":
                value, key = stack.pop(), stack.pop()
                _set_items(stack[-1], [key, value])
            case "SETITEMS":
                _set_items(stack[-1], items)
            case "EMPTY_SET" | "FROZENSET":
                stack.append(_INERT)
            case "GLOBAL":
                stack.append(_name(*argument.split(" ", 1)))
            case "STACK_GLOBAL":
                name, module = stack.pop(), stack.pop()
                stack.append(_name(module, name))
            case "REDUCE":
                arguments, function = stack.pop(), stack.pop()
                stack.append(_call(function, arguments))
            case "INST":
                stack.append(_call(_name(*argument.split(" ", 1)), tuple(items)))
            case "OBJ":
                stack.append(_call(items[0], tuple(items[1:])))
            case "NEWOBJ" | "NEWOBJ_EX":  # makes an object of a class without calling it
                del stack[-len(opcode.stack_before) :]
                stack.append(_INERT)
            case "BUILD":
                stack.pop()
                if isinstance(stack[-1], Tensor | _Storage):
                    raise pickle.UnpicklingError("it sets the attributes of a tensor")
            case "BINPERSID":
                stack.append(_storage(stack.pop(), archive))
            case "PERSID" | "EXT1" | "EXT2" | "EXT4" | "NEXT_BUFFER" | "READONLY_BUFFER":
                raise pickle.UnpicklingError(f"it has {opcode.name}, which torch.save never writes")
            case _:  # plain values
                stack.append(argument)
    raise pickle.UnpicklingError("it has no end")


def _extend(target: Any, items: list[Any]) -> None:
    if isinstance(target, list):
        target.extend(items)


def _set_items(target: Any, items: list[Any]) -> None:
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key if isinstance(key, str) else _INERT] = value


def _name(module: Any, name: Any) -> _Name:
    if not isinstance(module, str) or not isinstance(name, str):
        raise pickle.UnpicklingError("a name in it is not a string")
    # Old pickle protocols, of which torch.save's is one, use Python 2's names.
    renamed = IMPORT_MAPPING.get(module, module), name
    module, name = NAME_MAPPING.get((module, name), renamed)
    return _Name(f"{module}.{name}")


def _call(function: Any, arguments: Any) -> Any:
    """Answers a call in place of what the pickle names."""
    if not isinstance(function, _Name) or not isinstance(arguments, tuple):
        raise pickle.UnpicklingError("it calls what is no function")
    match function.path:
        case "collections.OrderedDict" if not arguments:
            return {}
        case "torch._utils._rebuild_tensor_v2":
            return Tensor(*arguments[:4])
        case "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state":
            return arguments[0]
    library = function.path.partition(".")[0]
    if library in _KNOWN_LIBRARIES and not _PLAIN_DATA.fullmatch(function.path):
        raise _Unsafe(function.path)
    return _INERT


def _storage(reference: Any, archive: _Archive) -> _Storage:
    kind, storage_type, key, _, size = reference
    if kind != "storage" or not isinstance(storage_type, _Name):
        raise pickle.UnpicklingError("it refers to a record that is not a tensor's")
    return _Storage(archive, storage_type.path, key, size)


def _state_dict(archive: _Archive, key: str) -> dict[str, Tensor]:
    content = archive.read("data.pkl")
    try:
        saved = _unpickle(content, archive)
    except _Unsafe as unsafe:
        archive.fail(
            f"is not safe: it asks to call {unsafe}, which no checkpoint needs. Nothing was run; "
            "do not open the file with PyTorch"
        )
    except _DAMAGED_PICKLE as error:
        archive.fail(f"is damaged: its data.pkl is not a valid pickle ({error})")
    tensors = saved.get(key) if isinstance(saved, dict) else None
    if not isinstance(tensors, dict):
        names = [name for name in saved if isinstance(name, str)] if isinstance(saved, dict) else []
        archive.fail(
            f"has no state dict {key!r}, only {', '.join(names[:8]) or 'unnamed objects'} "
            "(a tracker's is 'net'; an ImageNet backbone's is 'state_dict' and needs --backbone)"
        )
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not name.isprintable() or not isinstance(tensor, Tensor):
            label = name if isinstance(name, str) else "an entry without a name"
            archive.fail(f"holds an entry of {key!r} that is not a tensor: {label}")
        if problem := tensor.problem():
            archive.fail(f"is damaged: tensor {name} {problem}")
    return tensors


class _Limited(io.FileIO):
    """A file of which only a limited number of bytes can be read."""

    left = _MAX_DIRECTORY

    def read(self, size: int | None = -1, /) -> bytes:
        most = self.left + 1
        data = super().read(most if size is None or size < 0 else min(size, most)) or b""
        self.left -= len(data)
        if self.left < 0:
            raise zipfile.BadZipFile("its directory is too large")
        return data


@contextlib.contextmanager
def _open_archive(path: Path) -> Iterator[_Archive]:
    if not path.is_file():
        raise InputError(f"{path} is not a file; expected a checkpoint that torch.save wrote")
    with _Limited(path) as file:
        start = file.read(512)
        if not start.startswith(b"PK"):
            raise InputError(f"{path} is not a PyTorch checkpoint: {_what_else(start)}")
        try:
            archive = zipfile.ZipFile(file)
        except _DAMAGED_ZIP as error:
            raise InputError(
                f"{path} is truncated or damaged ({error}); download it again"
            ) from error
        file.left = sys.maxsize - 1  # `_Archive.record` limits reading from here on
        with archive:
            folders = [
                name.removesuffix("/data.pkl")
                for name in archive.namelist()
                if name.endswith("/data.pkl")
            ]
            if len(folders) != 1:
                raise InputError(
                    f"{path} is a zip archive, but not one that torch.save wrote: "
                    f"expected one data.pkl in it, found {len(folders)}"
                )
            opened = _Archive(path, archive, folders[0])
            order = f"{folders[0]}/byteorder"
            if order in archive.namelist() and opened.read("byteorder") != b"little":
                opened.fail("was written on a big-endian machine, which is not supported")
            yield opened


def _what_else(start: bytes) -> str:
    """Describes a file that is not a zip archive, and what to do."""
    if not start:
        return "it is empty; download it again"
    if start.startswith(b"\x80"):
        return (
            "it is a plain pickle, perhaps in the format from before PyTorch 1.6; "
            "if you trust it, load it with PyTorch and save it again"
        )
    if start[257:262] == b"ustar" or start.startswith(b"\x1f\x8b"):
        return "it is a tar or gzip archive (a checkpoint is not, whatever its name); unpack it"
    if start.lstrip().startswith(b"<"):
        return "it is a web page, so the download went wrong; download it again"
    return "its format is unknown; is it the right file, and completely downloaded?"
