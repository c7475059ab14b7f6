"""Reads tensors out of files that `torch.save` wrote, without PyTorch and without trust.

Such a file is a zip archive: `NAME/data.pkl` is a pickle of the saved object, and every tensor's
numbers are a record `NAME/data/KEY` of their own, which the pickle refers to. Unpickling in the
usual way imports and calls whatever the file names. Here nothing from outside is ever imported or
called: every name in the pickle becomes an empty class made on the spot. Calling one of these is
answered as follows.

- The few functions that tensors and state dicts are made of: by our own equivalents.
- Anything else from the standard library, numpy or torch: the file is refused, naming the call,
  unless it is known as plain data (`_PLAIN_DATA`: dates, paths, numpy scalars, ...).
- Anything from elsewhere: by an empty object. Published checkpoints hold such objects of classes
  that exist only in their authors' repositories; whatever they were, they do nothing here.
"""

import contextlib
import dataclasses
import io
import math
import pickle
import pickletools
import re
import sys
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import ml_dtypes
import numpy as np

from asymtrack_jax.errors import InputError

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
    | collections\.(Counter|defaultdict|deque)
    | copyreg\._reconstructor
    | datetime\.(date|datetime|time|timedelta|timezone)
    | decimal\.Decimal
    | fractions\.Fraction
    | numpy\.(dtype|_?core\.multiarray\.(_reconstruct|scalar)|random\._pickle\.\w+)
    | pathlib\.(_local\.)?(Pure)?(Path|PosixPath|WindowsPath)
    | torch\.(Size|device|_utils\._rebuild_\w+|serialization\._get_layout)
    | types\.SimpleNamespace
    """,
    re.VERBOSE,
)

_DAMAGED_ZIP = (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError)

_DAMAGED_PICKLE = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    TypeError,
    ValueError,
)


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
        raise InputError(f"{self.path} {problem}")

    def record(self, name: str) -> zipfile.ZipInfo:
        """Where a record is; its size is what the file really has room for."""
        try:
            info = self.zip.getinfo(f"{self.folder}/{name}")
        except KeyError:
            self.fail(f"is damaged: record {name!r} is missing; download it again")
        if info.compress_type != zipfile.ZIP_STORED:
            self.fail(f"was not written by torch.save: record {name!r} is compressed")
        if info.file_size != info.compress_size or info.file_size > self.path.stat().st_size:
            self.fail(f"is damaged: record {name!r} is said to be larger than the file")
        return info

    def read(self, name: str) -> bytes:
        info = self.record(name)
        try:
            return self.zip.read(info)
        except _DAMAGED_ZIP as error:
            self.fail(f"is damaged: record {name!r} cannot be read ({error}); download it again")


class _Sealed:
    """Keeps a pickle from rewriting the attributes of objects it holds."""

    def __setstate__(self, state: Any) -> NoReturn:
        raise pickle.UnpicklingError("it sets the attributes of a tensor")


@dataclasses.dataclass(frozen=True)
class _Storage(_Sealed):
    """A record of numbers, as the pickle describes it: unchecked."""

    archive: _Archive
    type: str
    key: Any
    size: Any


@dataclasses.dataclass(frozen=True)
class Tensor(_Sealed):
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


class _StateDict(dict):
    """Stands for an OrderedDict; modules hang attributes on theirs, which nothing here needs."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Unsafe(Exception):  # noqa: N818
    """A pickle asks for a call that no checkpoint needs."""


class _NameType(type):
    """Answers calls in place of what a pickle names."""

    path: str

    def __call__(cls, *args: Any) -> Any:
        match cls.path:
            case "collections.OrderedDict":
                return _StateDict(*args)
            case "torch._utils._rebuild_tensor_v2":
                return Tensor(*args[:4])
            case "torch._utils._rebuild_parameter" | "torch._utils._rebuild_parameter_with_state":
                return args[0]
        library = cls.path.partition(".")[0]
        if library in _KNOWN_LIBRARIES and not _PLAIN_DATA.fullmatch(cls.path):
            raise _Unsafe(cls.path)
        return object.__new__(cls)


class _Name(metaclass=_NameType):
    """What a name in a pickle stands for: as an object it takes anything and keeps nothing."""

    __slots__ = ()
    path = ""

    def __new__(cls, *_: Any, **__: Any) -> "_Name":
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        pass

    add = extend = append


class _Unpickler(pickle.Unpickler):
    def __init__(self, archive: _Archive, content: bytes):
        super().__init__(io.BytesIO(content))
        self._archive = archive

    def find_class(self, module: str, name: str) -> type[_Name]:
        # Old pickle protocols, of which torch.save's is one, use Python 2's names.
        renamed = IMPORT_MAPPING.get(module, module), name
        module, name = NAME_MAPPING.get((module, name), renamed)
        return _NameType("_Name", (_Name,), {"__slots__": (), "path": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _, size = pid
        if kind != "storage" or not isinstance(storage_type, _NameType):
            raise pickle.UnpicklingError("it refers to something that is no tensor")
        return _Storage(self._archive, storage_type.path, key, size)


def _state_dict(archive: _Archive, key: str) -> dict[str, Tensor]:
    content = archive.read("data.pkl")
    try:
        _check_pickle(content)
        saved = _Unpickler(archive, content).load()
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
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            label = name if isinstance(name, str) else type(name).__name__
            archive.fail(f"holds something in {key!r} that is no tensor: {label}")
        if problem := tensor.problem():
            archive.fail(f"is damaged: tensor {name} {problem}")
    return dict(tensors)


def _check_pickle(content: bytes) -> None:
    """Walks over a pickle without running it, so that sizes that lie cost no memory later."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > count:
            raise pickle.UnpicklingError("it has a memo index that is too large")


@contextlib.contextmanager
def _open_archive(path: Path) -> Iterator[_Archive]:
    if not path.is_file():
        raise InputError(f"{path} is not a file; expected a checkpoint that torch.save wrote")
    with path.open("rb") as file:
        start = file.read(512)
        if not start.startswith(b"PK"):
            raise InputError(f"{path} is not a PyTorch checkpoint: {_what_else(start)}")
        try:
            archive = zipfile.ZipFile(file)
        except _DAMAGED_ZIP as error:
            raise InputError(
                f"{path} is truncated or damaged ({error}); download it again"
            ) from error
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
