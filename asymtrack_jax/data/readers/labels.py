"""What the readers of video data sets share: labels beside the boxes, and what counts as a box."""

import importlib.resources
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int64

from asymtrack_jax.data.readers.text import read_lines
from asymtrack_jax.errors import InputError


def read_labels(path: Path, count: int) -> Int64[np.ndarray, " N"]:
    """Reads one integer a frame, separated by commas or line ends.

    Raises:
        InputError: the file cannot be read, holds something else, or labels another number of
            frames than `count`.
    """
    fields = ",".join(read_lines(path)).split(",")
    try:
        labels = np.array(fields, np.int64)
    except ValueError as error:
        raise InputError(f"{path}: expected one integer a frame ({error})") from error
    if len(labels) != count:
        raise InputError(f"{path} labels {len(labels)} frames where there are {count} boxes")
    return labels


def has_area(boxes: Float[np.ndarray, "N 4"]) -> Bool[np.ndarray, " N"]:
    """Which xywh boxes are real ones: neither empty nor NaN."""
    return (boxes[:, 2] > 0) & (boxes[:, 3] > 0)


def require_folder(path: Path, layout: str) -> None:
    """Raises `InputError` if a folder is missing; `layout` says what should be there."""
    if not path.is_dir():
        raise InputError(f"no folder {path}: {layout}")


def require_image(path: Path) -> None:
    """Raises `InputError` if an annotated sequence has not even its first image."""
    if not path.is_file():
        raise InputError(f"no image {path}, although it is annotated: is the data set unpacked?")


def split_list(name: str) -> list[str]:
    """The lines of a list that comes with the package."""
    resource = importlib.resources.files("asymtrack_jax.data") / "splits" / f"{name}.txt"
    return resource.read_text(encoding="utf-8").split()
