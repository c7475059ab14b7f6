"""What readers of benchmarks share: sequences known by their annotation, images read when wanted.

Scoring needs no images, and listing those of a large set takes long: nothing is looked up before a
frame is asked for. Then a missing frame, or a number of images that differs from the annotation's,
is an `InputError`.
"""

import csv
import dataclasses
import functools
import importlib.resources
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from asymtrack_jax.data.readers.labels import require_folder
from asymtrack_jax.data.sequences import Frame, Sequence, image_files, read_frame
from asymtrack_jax.errors import InputError, first_ten


@dataclasses.dataclass(frozen=True)
class NumberedImages:
    """Frames whose files are numbered without gaps.

    Attributes:
        folder: where they are.
        pattern: format of a file's name, of the number.
        numbers: in order.
    """

    folder: Path
    pattern: str
    numbers: range

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Frame:
        return read_frame(self.folder / self.pattern.format(self.numbers[index]))


@dataclasses.dataclass(frozen=True)
class ListedImages:
    """Frames that are all the images of a folder, in order of their names.

    Attributes:
        folder: where they are.
        count: how many there must be.
    """

    folder: Path
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Frame:
        return read_frame(self._paths[index])

    @functools.cached_property
    def _paths(self) -> list[Path]:
        require_folder(self.folder, f"expected {self.count} images in it")
        paths = image_files(self.folder)
        if len(paths) != self.count:
            raise InputError(
                f"{self.folder} holds {len(paths)} images where {self.count} frames are annotated"
            )
        return paths


def read_each(
    root: Path, layout: str, items: Iterable[Any], read: Callable[[Any], Sequence]
) -> list[Sequence]:
    """Reads the sequences of a set, or says in one message which of them cannot be read.

    Args:
        root: the set's folder.
        layout: what should be in it, for messages.
        items: what `read` takes.
        read: reads a sequence's annotation; raises `InputError`.

    Raises:
        InputError: the folder is missing, or holds none of the sequences or not all: the first ten
            are named, and the others counted.
    """
    require_folder(root, layout)
    sequences, problems = [], []
    for item in items:
        try:
            sequence = read(item)
            check_first(sequence)
            sequences.append(sequence)
        except InputError as error:
            problems.append(error)
    total = len(sequences) + len(problems)
    if problems:
        raise InputError(
            f"cannot use {root}: {layout}\n{len(problems)} of {total} sequences cannot be read:"
            f"{first_ten(problems)}"
        )
    if not total:
        raise InputError(f"no sequences in {root}: {layout}")
    return sequences


def check_first(sequence: Sequence) -> None:
    """Raises `InputError` if a sequence has no target to start from."""
    if not len(sequence.boxes):
        raise InputError(f"{sequence.name}: its annotation is empty")
    if not np.all(sequence.boxes[0, 2:] > 0):  # nor is NaN
        raise InputError(
            f"{sequence.name}, line 1: no target to start from, got {sequence.boxes[0].tolist()}"
        )


def only_first(boxes: Float[np.ndarray, "N 4"], count: int) -> Float[np.ndarray, "count 4"]:
    """Boxes of a sequence whose annotation is withheld but for the first frame; NaN elsewhere."""
    return np.concatenate([boxes[:1], np.full((max(count - 1, 0), 4), np.nan)])


def table(name: str) -> list[dict[str, str]]:
    """A table that comes with the package, `splits/<name>.csv`: a mapping a row."""
    resource = importlib.resources.files("asymtrack_jax.data") / "splits" / f"{name}.csv"
    return list(csv.DictReader(resource.read_text(encoding="utf-8").splitlines()))
