"""Boxes in text files, as data sets and trackers write them: one line a frame."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from asymtrack_jax.errors import InputError


def read_boxes(path: Path) -> Float64[np.ndarray, "N 4"]:
    """Reads `x,y,w,h` lines; commas, tabs and spaces separate alike.

    Returns:
        The boxes as they stand; NaN where a line says `nan` four times. A file without lines gives
        [0, 4].

    Raises:
        InputError: the file cannot be read, or a line (named by its number) is not four finite
            numbers or four `nan`.
    """
    lines = read_lines(path)
    boxes = _all_boxes(lines)
    if boxes is None:  # then one line by one, to name the one that is wrong
        boxes = [_box(path, number, line) for number, line in enumerate(lines, start=1)]
    return np.array(boxes, np.float64).reshape(-1, 4)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without empty ones at its end.

    Raises:
        InputError: the file cannot be read, or is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file") from error


def _all_boxes(lines: list[str]) -> Float64[np.ndarray, "N 4"] | None:
    """The boxes if every line is right: benchmarks have hundreds of thousands."""
    if not lines:
        return np.empty((0, 4))
    try:
        boxes = np.loadtxt([line.replace(",", " ") for line in lines], comments=None, ndmin=2)
    except ValueError:
        return None
    if boxes.shape != (len(lines), 4):
        return None
    absent = np.isnan(boxes)
    right = ~np.isinf(boxes).any() and np.all(absent.any(axis=1) == absent.all(axis=1))
    return boxes if right else None


def _box(path: Path, number: int, line: str) -> list[float]:
    try:
        box = [float(field) for field in line.replace(",", " ").split()]
    except ValueError:
        box = []
    absent = [math.isnan(value) for value in box]
    if len(box) != 4 or any(map(math.isinf, box)) or any(absent) != all(absent):
        raise InputError(
            f"{path}, line {number}: expected x,y,w,h, or nan four times; got {line[:60]!r}"
        )
    return box
