"""Shared code of the benchmarks' readers: annotations are read at once, images on access.

Scoring needs no images, and listing those of a large benchmark is slow. So a missing frame, or a
number of images that differs from that of the annotated frames, is an `InputError` on access.
"""

import csv
import dataclasses
import difflib
import functools
import importlib.resources
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from asymtrack_jax.data.readers.labels import require_folder
from asymtrack_jax.data.readers.text import read_boxes
from asymtrack_jax.data.sequences import Frame, Images, Sequence, listed_images
from asymtrack_jax.errors import InputError, first_ten

Item = TypeVar("Item")


@dataclasses.dataclass(frozen=True)
class Selection:
    """A selection of a benchmark's sequences.

    Attributes:
        names: names of the selected sequences; empty for all.
        allow_missing: whether to leave out sequences without an annotation file; by default they
            are an error.
    """

    names: tuple[str, ...] = ()
    allow_missing: bool = False

    def of(self, items: Mapping[str, Item]) -> dict[str, Item]:
        """Selects the items of the named sequences, in the benchmark's order.

        Args:
            items: any values by name of the sequence.

        Raises:
            InputError: there is no sequence of a selected name.
        """
        if unknown := [name for name in self.names if name not in items]:
            close = difflib.get_close_matches(unknown[0], items, n=1) or list(items)[:1]
            hint = f"there are {len(items)}, such as {close[0]}" if close else "there are none"
            raise InputError(f"no sequence {unknown[0][:100]!r}: {hint}")
        return {name: item for name, item in items.items() if not self.names or name in self.names}


ALL = Selection()


@dataclasses.dataclass(frozen=True)
class ListedImages:
    """Frames in all image files of a subfolder, which are listed on first access.

    Attributes:
        folder: folder of the sequence.
        subfolder: name of the subfolder of the images.
        count: expected number of images.
    """

    folder: Path
    subfolder: str
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Frame:
        return self.listed[index]

    @functools.cached_property
    def listed(self) -> Images:
        """The images; raises `InputError` if their number is another."""
        folder = self.folder / self.subfolder
        require_folder(folder, f"expected {self.count} images in it")
        images = listed_images(self.folder, self.subfolder)
        if len(images) != self.count:
            raise InputError(
                f"{folder} holds {len(images)} images where {self.count} frames are annotated"
            )
        return images


def read_each(
    root: Path,
    layout: str,
    items: Mapping[str, Item],
    read: Callable[[Item], Sequence],
    selection: Selection,
) -> list[Sequence]:
    """Reads the selected sequences of a benchmark; reports all that fail in one message.

    Args:
        root: root folder of the benchmark.
        layout: description of the expected files, for messages.
        items: argument of `read` by name of the sequence.
        read: reads the annotation of one sequence; raises `InputError`.
        selection: the sequences to read.

    Raises:
        InputError: the folder is missing, sequences cannot be read (the first ten are named and the
            others counted), there are none, or there is no sequence of a selected name.
    """
    require_folder(root, layout)
    sequences, problems, any_missing = [], [], False
    for item in selection.of(items).values():
        try:
            sequence = read(item)
            check_first(sequence)
            sequences.append(sequence)
        except InputError as error:
            missing = isinstance(error.__cause__, FileNotFoundError)
            any_missing |= missing
            if not (missing and selection.allow_missing):
                problems.append(error)
    if problems:
        total = len(sequences) + len(problems)
        advice = "\n`asymtrack evaluate --allow-missing` evaluates the sequences that are there"
        raise InputError(
            f"cannot use {root}: {layout}\n{len(problems)} of {total} sequences cannot be read:"
            f"{first_ten(problems)}"
            f"{advice if any_missing and sequences and not selection.allow_missing else ''}"
        )
    if not sequences:
        raise InputError(f"no sequences in {root}: {layout}")
    return sequences


def check_first(sequence: Sequence) -> None:
    """Raises `InputError` if the first box of a sequence is not valid."""
    if not len(sequence.boxes):
        raise InputError(f"{sequence.name}: its annotation is empty")
    if not np.all(sequence.boxes[0, 2:] > 0):  # False if NaN
        raise InputError(
            f"{sequence.name}, line 1: the first box must have a positive size; got "
            f"{sequence.boxes[0].tolist()}"
        )


def read_part(annotation: Path, row: Mapping[str, str]) -> tuple[Float[np.ndarray, "N 4"], range]:
    """Reads the boxes of a part of a folder's frames, `first` to `last` in a row of `table`.

    Returns:
        The boxes, and the numbers of the frames.

    Raises:
        InputError: the annotation cannot be read, or does not have one line per frame.
    """
    numbers = range(int(row["first"]), int(row["last"]) + 1)
    boxes = read_boxes(annotation)
    if len(boxes) != len(numbers):
        raise InputError(
            f"{annotation} has {len(boxes)} lines for frames {numbers[0]} to {numbers[-1]}"
        )
    return boxes, numbers


def only_first(boxes: Float[np.ndarray, "N 4"], count: int) -> Float[np.ndarray, "count 4"]:
    """Returns the first box followed by NaN, for sequences whose other boxes are withheld."""
    return np.concatenate([boxes[:1], np.full((max(count - 1, 0), 4), np.nan)])


def table(name: str) -> list[dict[str, str]]:
    """Reads the packaged table `splits/<name>.csv`: one mapping per row."""
    resource = importlib.resources.files("asymtrack_jax.data") / "splits" / f"{name}.csv"
    return list(csv.DictReader(resource.read_text(encoding="utf-8").splitlines()))
