"""A data set's annotations as a few flat arrays: what training looks pairs up in.

45,000 sequences and 15 million boxes take some 350 MB in a few files, which open in under a second;
the processes that map them share one copy.
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

_FORMAT = 1  # raise it when the columns, or what the readers put into them, change meaning
_COLUMNS = ("folders", "offsets", "files", "boxes", "visible")


class Annotation(NamedTuple):
    """What a reader says about one sequence.

    Attributes:
        folder: below the data set's root; its last part is the sequence's name.
        files: images below that folder, in order, as bytes (`numpy.bytes_`).
        boxes: xywh in pixels of the stored images.
        visible: False where the target cannot be seen or has no box.
    """

    folder: str
    files: np.ndarray
    boxes: Float[np.ndarray, "N 4"]
    visible: Bool[np.ndarray, " N"]


class Part(NamedTuple):
    """Annotation files that are read together.

    Attributes:
        files: all that the annotations follow from; a change in one makes an index stale.
        read: reads them; raises `InputError`.
    """

    files: tuple[Path, ...]
    read: Callable[[], Iterable[Annotation]]


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceIndex:
    """Annotated sequences of one data set, and their images: a `Source`.

    Attributes:
        root: folder of the data set.
        folders: each sequence's folder below the root, as bytes.
        offsets: sequence i is the rows `offsets[i]` to `offsets[i + 1]` of the other columns.
        files: each frame's image below its sequence's folder, as bytes.
        boxes: xywh in pixels of the stored images.
        visible: False where the target cannot be seen or has no box.
        directory: where the columns are mapped from; None if they are in memory.
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
        """The root."""
        return os.fspath(self.root)

    def rows(self, sequence: int) -> slice:
        """The rows of a sequence's frames."""
        return slice(int(self.offsets[sequence]), int(self.offsets[sequence + 1]))

    def frame_path(self, row: int) -> Path:
        """The image of a row."""
        sequence = int(np.searchsorted(self.offsets, row, side="right")) - 1
        return self.root / os.fsdecode(self.folders[sequence]) / os.fsdecode(self.files[row])

    def read(self, row: int) -> Frame:
        """The frame of a row; `InputError` if it cannot be read."""
        return read_frame(self.frame_path(row))

    def frame_name(self, row: int) -> str:
        """The path of a row's image."""
        return os.fspath(self.frame_path(row))

    def __getitem__(self, sequence: int) -> Sequence:
        """One sequence on its own, boxes NaN where there is none."""
        rows = self.rows(range(len(self))[sequence])
        folder = self.root / os.fsdecode(self.folders[sequence])
        frames = tuple(folder / os.fsdecode(file) for file in self.files[rows])
        boxes = self.boxes[rows].astype(np.float64)
        return Sequence(folder.name, ImageFiles(frames), boxes, np.array(self.visible[rows]))

    def __reduce__(self) -> tuple[Any, ...]:
        """A mapped index travels to a worker process as the name of its folder."""
        if self.directory is not None:
            return map_index, (self.directory,)
        fields = tuple(getattr(self, field.name) for field in dataclasses.fields(self))
        return SequenceIndex, fields


def build_index(root: Path, parts: Iterable[Part]) -> SequenceIndex:
    """Reads annotations into memory, with a progress bar.

    Raises:
        InputError: an annotation cannot be used (named), or there is none.
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
    """Opens the index of a data set.

    Args:
        root: folder of the data set.
        parts: a reader's annotation files.
        cache: a folder to keep indexes in. The one whose annotation files have the same names,
            sizes and times is mapped from there, or else made. Without it, all is in memory, and
            copied to every worker process.

    Raises:
        InputError: an annotation file is missing, or cannot be used.
        OSError: the cache cannot be written.
    """
    parts = list(parts)
    if cache is None:
        return build_index(root, parts)
    directory = cache / _fingerprint(root, parts)
    if not directory.is_dir():
        index = build_index(root, parts)
        # Suppressed, as another process may have been faster.
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
    """Writes an index into a directory of its own."""
    directory.mkdir(exist_ok=True)
    for column in _COLUMNS:
        np.save(directory / f"{column}.npy", getattr(index, column))
    (directory / "root.json").write_text(json.dumps(os.fspath(index.root.absolute())))


def map_index(directory: Path) -> SequenceIndex:
    """Maps an index that `save_index` wrote."""
    columns = {column: np.load(directory / f"{column}.npy", mmap_mode="r") for column in _COLUMNS}
    root = Path(json.loads((directory / "root.json").read_text()))
    return SequenceIndex(root, **columns, directory=directory)


def numbered(pattern: str, count: int, first: int = 0) -> np.ndarray:
    """File names by a rule, as bytes: `pattern.format(first)` and so on."""
    return _numbered(pattern, 1 << count.bit_length(), first)[:count]


@functools.cache
def _numbered(pattern: str, count: int, first: int) -> np.ndarray:
    return np.array([pattern.format(number).encode() for number in range(first, first + count)])
