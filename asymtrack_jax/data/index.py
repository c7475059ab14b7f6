"""The annotations of a dataset as a few flat arrays in memory-mapped files.

45,000 sequences and 15 million boxes take some 350 MB, which open in under a second; processes that
map the files share one copy.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tqdm
from jaxtyping import Bool, Float, Float32, Int64

from asymtrack_jax.data.sequences import Frame, ImageFiles, Sequence, read_frame
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import atomic_directory

_FORMAT = 1  # to be raised when the meaning of the columns changes
_COLUMNS = ("folders", "offsets", "files", "boxes", "visible")


class Annotation(NamedTuple):
    """The annotation of one sequence.

    Attributes:
        folder: path below the dataset's root; its last part is the sequence's name.
        files: paths of the images below that folder, in order, as bytes (`numpy.bytes_`).
        boxes: xywh in pixels of the stored images.
        visible: whether the target is visible; False where it has no box.
    """

    folder: str
    files: np.ndarray
    boxes: Float[np.ndarray, "N 4"]
    visible: Bool[np.ndarray, " N"]


class Part(NamedTuple):
    """Annotation files that are read together.

    Attributes:
        files: the files; a change in one invalidates a cached index.
        read: reads them; raises `InputError`.
    """

    files: tuple[Path, ...]
    read: Callable[[], Iterable[Annotation]]


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceIndex:
    """Annotated sequences of one dataset and the paths of their images, a `Source`.

    Attributes:
        root: root folder of the dataset.
        folders: path of each sequence below the root, as bytes.
        offsets: sequence i is the rows `offsets[i]` to `offsets[i + 1]` of the other columns.
        files: path of each frame's image below its sequence's folder, as bytes.
        boxes: xywh in pixels of the stored images.
        visible: whether the target is visible; False where it has no box.
        directory: folder of the mapped columns; None if they are in memory.
    """

    root: Path
    folders: np.ndarray
    offsets: Int64[np.ndarray, " ends"]
    files: np.ndarray
    boxes: Float32[np.ndarray, "N 4"]
    visible: Bool[np.ndarray, " N"]
    directory: Path | None = None

    def __len__(self) -> int:
        return len(self.folders)

    @property
    def name(self) -> str:
        """Path of the root."""
        return os.fspath(self.root)

    def rows(self, sequence: int) -> slice:
        """Returns the rows of a sequence's frames."""
        return slice(int(self.offsets[sequence]), int(self.offsets[sequence + 1]))

    def frame_path(self, row: int) -> Path:
        """Returns the path of a row's image."""
        sequence = int(np.searchsorted(self.offsets, row, side="right")) - 1
        return self.root / os.fsdecode(self.folders[sequence]) / os.fsdecode(self.files[row])

    def read(self, row: int) -> Frame:
        """Reads the frame of a row; raises `InputError` if it cannot be read."""
        return read_frame(self.frame_path(row))

    def frame_name(self, row: int) -> str:
        """Names a row's frame for messages: the path of its image."""
        return os.fspath(self.frame_path(row))

    def __getitem__(self, sequence: int) -> Sequence:
        """Returns one sequence; boxes are NaN where there is none."""
        rows = self.rows(range(len(self))[sequence])
        folder = self.root / os.fsdecode(self.folders[sequence])
        frames = tuple(folder / os.fsdecode(file) for file in self.files[rows])
        boxes = self.boxes[rows].astype(np.float64)
        return Sequence(folder.name, ImageFiles(frames), boxes, np.array(self.visible[rows]))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles only the path of a mapped index; a worker process maps the files again."""
        if self.directory is not None:
            return map_index, (self.directory,)
        fields = tuple(getattr(self, field.name) for field in dataclasses.fields(self))
        return SequenceIndex, fields


def build_index(root: Path, parts: Iterable[Part]) -> SequenceIndex:
    """Reads annotations into memory, with a progress bar.

    Raises:
        InputError: an annotation is invalid (named), or there is none.
    """
    progress = tqdm.tqdm(list(parts), desc=f"reading {root.name}", unit="part", leave=False)
    columns = [annotation for part in progress for annotation in part.read()]
    if not columns:
        raise InputError(f"no annotated sequences in {root}")
    folders, files, boxes, visible = zip(*columns, strict=True)
    return SequenceIndex(
        root,
        np.array([os.fsencode(folder) for folder in folders]),
        np.cumsum([0, *map(len, boxes)], dtype=np.int64),
        np.concatenate(files),
        np.concatenate(boxes, dtype=np.float32, casting="same_kind"),
        np.concatenate(visible),
    )


def open_index(root: Path, parts: Iterable[Part], cache: Path | None = None) -> SequenceIndex:
    """Opens the index of a dataset, from a cache if it is there.

    Args:
        root: root folder of the dataset.
        parts: the annotation files.
        cache: folder of cached indexes. An index is valid while the annotation files keep their
            names, sizes and times of modification. None keeps the index in memory, and copies it to
            every worker process.

    Raises:
        InputError: an annotation file is missing or invalid.
        OSError: the cache cannot be written.
    """
    parts = list(parts)
    if cache is None:
        return build_index(root, parts)
    directory = cache / _fingerprint(root, parts)
    if not directory.is_dir():
        index = build_index(root, parts)
        # Suppressed, since another process may have written it in the meantime.
        with contextlib.suppress(InputError), atomic_directory(directory) as folder:
            save_index(index, folder)
    return map_index(directory)


def _fingerprint(root: Path, parts: Iterable[Part]) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {root.absolute()}".encode())
    for part in parts:
        for file in part.files:
            try:
                state = file.stat()
            except OSError as error:
                raise InputError(f"cannot read {file}: {error.strerror}") from error
            digest.update(f"\n{file} {state.st_size} {state.st_mtime_ns}".encode())
    return f"{root.name}-{digest.hexdigest()[:16]}"


def save_index(index: SequenceIndex, directory: Path) -> None:
    """Writes the columns of an index into a directory."""
    directory.mkdir(exist_ok=True)
    for column in _COLUMNS:
        np.save(directory / f"{column}.npy", getattr(index, column))
    (directory / "root.json").write_text(json.dumps(os.fspath(index.root.absolute())))


def map_index(directory: Path) -> SequenceIndex:
    """Maps an index that `save_index` wrote into memory."""
    columns = {column: np.load(directory / f"{column}.npy", mmap_mode="r") for column in _COLUMNS}
    root = Path(json.loads((directory / "root.json").read_text()))
    return SequenceIndex(root, **columns, directory=directory)


def numbered(pattern: str, count: int, first: int = 0) -> np.ndarray:
    """Returns numbered file names as bytes: `pattern.format(first)` and so on."""
    return _numbered(pattern, 1 << count.bit_length(), first)[:count]


@functools.cache
def _numbered(pattern: str, count: int, first: int) -> np.ndarray:
    return np.array([pattern.format(number).encode() for number in range(first, first + count)])
