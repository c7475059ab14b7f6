"""Reads tensors out of files that `torch.save` wrote, without PyTorch and without trust.

Such a file is a zip archive: `NAME/data.pkl` is a pickle of the saved object, and every tensor's
numbers are a record `NAME/data/KEY` of their own, which the pickle refers to. Unpickling in the
usual way imports and calls whatever the file names, and hashes what it builds, which may take for
ever. Here `_unpickle` goes through the pickle's opcodes itself. Nothing is ever imported or
called, and a call that the pickle asks for is answered as follows.

- The few functions that tensors and state dicts are made of: by our own equivalents.
- Anything else from the standard library, numpy or torch: the file is refused, naming the call,
  unless it is known as plain data (`_PLAIN_DATA`: dates, paths, numpy scalars, ...).
- Anything from elsewhere: by `_INERT`. Published checkpoints hold objects of classes that exist
  only in their authors' repositories; whatever they were, they do nothing here.

What a file may cost is bounded by the three numbers below.
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
_MAX_DIRECTORY = 2**22  # bytes that are read to find the records
_MAX_RECORD = 2**24  # bytes of a record that is read, the pickle being one
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
    """Opens the state dict that a checkpoint holds under a key.

    The tensors' shapes and types are known at once, and have been checked against the file; their
    numbers are read by `Tensor.read`, while the context is open.

    Args:
        path: a file that `torch.save` wrote, PyTorch 1.6 or newer.
        key: where in the saved dict the state dict is.

    Yields:
        The state dict, in the file's order.

    Raises:
        InputError: there is no such file, it is something else, damaged or unsafe, or has no state
            dict under that key.
    """
    with _open_archive(path) as archive:
        yield _state_dict(archive, key)


@dataclasses.dataclass(frozen=True)
class _Archive:
    """The zip archive, and the folder inside it that all records are in."""

    path: Path
    zip: zipfile.ZipFile
    folder: str

    def fail(self, problem: str) -> NoReturn:
        one_line = problem.replace("\n", "\\n")  # names in the file may have several
        raise InputError(f"{self.path} {one_line}")

    def record(self, name: str) -> zipfile.ZipInfo:
        """Where a record is; its size is what the file really has room for, and within reason."""
        try:
            info = self.zip.getinfo(f"{self.folder}/{name}")
        except KeyError:
            self.fail(f"is damaged: record {name!r} is missing; download it again")
        if info.compress_type != zipfile.ZIP_STORED:
            self.fail(f"was not written by torch.save: record {name!r} is compressed")
        if info.file_size != info.compress_size or info.file_size > self.path.stat().st_size:
            self.fail(f"is damaged: record {name!r} is said to be larger than the file")
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
    """A record of numbers, as the pickle describes it: unchecked."""

    archive: _Archive
    type: str
    key: Any
    size: Any


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A tensor whose numbers are still in the file.

    Attributes:
        storage: the numbers, which other tensors may share.
        offset: the first element's position in the storage.
        shape: sizes of the axes.
        strides: steps along the axes, in elements.
    """

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype | None:
        """Type of the numbers; None if numpy has no such type."""
        return _DTYPES.get(self.storage.type)

    def read(self) -> np.ndarray:
        """The numbers, in the tensor's shape and type."""
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
        """What is wrong with the tensor's description, whose values come from the file."""
        storage = self.storage
        if not isinstance(storage, _Storage) or not isinstance(storage.key, str):
            return "has no storage"
        if not (
            _is_sizes(self.shape)
            and _is_sizes(self.strides)
            and len(self.shape) == len(self.strides)
            and _is_sizes((self.offset, storage.size))
        ):
            return "has sizes that are no sizes"
        steps = zip(self.shape, self.strides, strict=True)
        end = self.offset + sum((size - 1) * step for size, step in steps) + 1
        count = math.prod(self.shape)
        if count > storage.size or (count and end > storage.size):
            return f"of shape {self.shape} does not fit in its {storage.size} stored numbers"
        if self.dtype is not None:
            stored = storage.archive.record(f"data/{storage.key}").file_size
            if stored != storage.size * self.dtype.itemsize:
                return f"should have {storage.size} numbers in a record of {stored} bytes"
        return None


def _is_sizes(values: Any) -> bool:
    return (
        type(values) is tuple
        and len(values) <= 32
        and all(type(value) is int and 0 <= value < 2**63 for value in values)
    )


class _Unsafe(Exception):  # noqa: N818
    """A pickle asks for a call that no checkpoint needs."""


@dataclasses.dataclass(frozen=True)
class _Name:
    """What a pickle wants imported, such as `torch._utils._rebuild_tensor_v2`."""

    path: str


_INERT = object()  # stands for all that nothing here needs


def _unpickle(content: bytes, archive: _Archive) -> Any:
    """What a pickle describes: dicts with names as keys, lists, tuples, plain values and tensors.

    Nothing in it is hashed, compared or printed, so that neither depth nor sharing costs anything.
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
        raise pickle.UnpicklingError("it names something by what is no text")
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
        raise pickle.UnpicklingError("it refers to something that is no tensor")
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
            f"has no state dict {key!r}, only {', '.join(names[:8]) or 'things without a name'} "
            "(a tracker's is 'net'; an ImageNet backbone's is 'state_dict' and needs --backbone)"
        )
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not name.isprintable() or not isinstance(tensor, Tensor):
            label = name if isinstance(name, str) else "an entry without a name"
            archive.fail(f"holds something in {key!r} that is no tensor: {label}")
        if problem := tensor.problem():
            archive.fail(f"is damaged: tensor {name} {problem}")
    return tensors


class _Limited(io.FileIO):
    """A file of which only so much may be read."""

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
        file.left = sys.maxsize - 1  # `_Archive.record` has limits of its own
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
    """What a file that is no zip archive seems to be, and what to do."""
    if not start:
        return "it is empty; download it again"
    if start.startswith(b"\x80"):
        return (
            "it is a bare pickle, perhaps in the format from before PyTorch 1.6; "
            "if you trust it, load it with PyTorch and save it again"
        )
    if start[257:262] == b"ustar" or start.startswith(b"\x1f\x8b"):
        return "it is a tar or gzip archive (a checkpoint is not, whatever its name); unpack it"
    if start.lstrip().startswith(b"<"):
        return "it is a web page, so the download went wrong; download it again"
    return "its content is of no known kind; is it the right file, downloaded to its end?"
