"""Shared code of the readers: labels per frame, validity of boxes, and checks of folders."""

import importlib.resources
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int64

from asymtrack_jax.data.readers.text import read_lines
from asymtrack_jax.data.sequences import Images, Sequence
from asymtrack_jax.errors import InputError


def read_labels(path: Path, count: int) -> Int64[np.ndarray, " N"]:
    """Reads one integer per frame, separated by commas or line breaks.

    Raises:
        InputError: the file cannot be read, holds other values, or their number is not `count`.
    """
    fields = ",".join(read_lines(path)).split(",")
    try:
        labels = np.array(fields, np.int64)
    except ValueError as error:
        raise InputError(f"{path}: expected one integer per frame ({error})") from error
    if len(labels) != count:
        raise InputError(f"{path} labels {len(labels)} frames where there are {count} boxes")
    return labels


def has_area(boxes: Float[np.ndarray, "N 4"]) -> Bool[np.ndarray, " N"]:
    """Tells which xywh boxes have a positive width and height; False for NaN."""
    return (boxes[:, 2] > 0) & (boxes[:, 3] > 0)


def require_folder(path: Path, layout: str) -> None:
    """Raises `InputError` if a folder is missing; `layout` describes the expected files."""
    if not path.is_dir():
        raise InputError(f"no folder {path}: {layout}")


def require_image(path: Path) -> None:
    """Raises `InputError` if the first image of an annotated sequence is missing."""
    if not path.is_file():
        raise InputError(f"no image {path}, although it is annotated: is the dataset unpacked?")


def split_list(name: str) -> list[str]:
    """Reads the packaged list `splits/<name>.txt`: one item per line."""
    resource = importlib.resources.files("asymtrack_jax.data") / "splits" / f"{name}.txt"
    return resource.read_text(encoding="utf-8").split()


def stills(folder: Path, files: np.ndarray, boxes: Float[np.ndarray, "N 4"]) -> Iterator[Sequence]:
    """Yields a sequence of one frame per box with area; `files` are as in `Images`."""
    for row in np.flatnonzero(has_area(boxes)):
        rows = slice(row, row + 1)
        yield Sequence(folder.name, Images(folder, files[rows]), boxes[rows])
