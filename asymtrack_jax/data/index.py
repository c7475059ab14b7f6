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
from jaxtyping import Bool, Float32, Int64

from asymtrack_jax.data.readers.labels import has_area, require_image
from asymtrack_jax.data.sequences import Frame, Images, Sequence, read_frame
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import atomic_directory

_FORMAT = 1  # to be raised when the meaning of the columns changes
_COLUMNS = ("folders", "offsets", "files", "boxes", "visible")


class Part(NamedTuple):
    """Annotation files that are read together.

    Attributes:
        files: the files; a change in one invalidates a cached index.
        read: reads the sequences, whose frames are `Images` in a folder below the dataset's root;
            raises `InputError`.
    """

    files: tuple[Path, ...]
    read: Callable[[], Iterable[Sequence]]

    @classmethod
    def of(cls, files: Iterable[Path], read: Callable[..., Sequence], *arguments: Any) -> "Part":
        """Returns the part of one sequence, `read(*arguments)`, whose first image must exist."""

        def read_one() -> list[Sequence]:
            sequence = read(*arguments)
            if not len(sequence.boxes):
                raise InputError(f"{sequence.name}: its annotation is empty")
            require_image(_images(sequence).path(0))
            return [sequence]

        return cls(tuple(files), read_one)


def _images(sequence: Sequence) -> Images:
    assert isinstance(sequence.frames, Images)
    return sequence.frames


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
        images = Images(self.root / os.fsdecode(self.folders[sequence]), self.files[rows])
        boxes = self.boxes[rows].astype(np.float64)
        return Sequence(images.folder.name, images, boxes, np.array(self.visible[rows]))

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
    sequences = [sequence for part in progress for sequence in part.read()]
    if not sequences:
        raise InputError(f"no annotated sequences in {root}")
    images = [_images(sequence) for sequence in sequences]
    boxes = np.concatenate([sequence.boxes for sequence in sequences])
    visible = has_area(boxes)
    offsets = np.cumsum([0, *map(len, images)], dtype=np.int64)
    for sequence, start, end in zip(sequences, offsets, offsets[1:], strict=False):
        if sequence.visible is not None:
            visible[start:end] &= sequence.visible
    below = functools.cache(lambda folder: os.fsencode(folder.relative_to(root)))
    return SequenceIndex(
        root,
        np.array([below(each.folder) for each in images]),
        offsets,
        np.concatenate([each.files for each in images]),
        boxes.astype(np.float32),
        visible,
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
