"""Boxes in text files of datasets and trackers: one line per frame."""

import math
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from asymtrack_jax.errors import InputError


def read_boxes(path: Path, *, with_score: bool = False) -> Float64[np.ndarray, "N fields"]:
    """Reads lines `x,y,w,h`, separated by commas, tabs or spaces.

    Args:
        path: the file.
        with_score: whether every line has a score after the box.

    Returns:
        Boxes [N, 4], or [N, 5] with scores, in the file's coordinates; NaN where a line has `nan`
        in all fields.

    Raises:
        InputError: the file cannot be read, or a line (its number is named) has neither that many
            finite numbers nor that many `nan`.
    """
    lines, fields = read_lines(path), 5 if with_score else 4
    boxes = _all_boxes(lines, fields)
    if boxes is None:  # reads line by line, to name the invalid one
        boxes = [_box(path, number, line, fields) for number, line in enumerate(lines, start=1)]
    return np.array(boxes, np.float64).reshape(-1, fields)


def read_lines(path: Path) -> list[str]:
    """Reads the lines of a UTF-8 text file, without empty ones at its end.

    Raises:
        InputError: the file cannot be read, or is not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a text file") from error


def _all_boxes(lines: list[str], fields: int) -> Float64[np.ndarray, "N fields"] | None:
    """Parses all lines at once, which is fast; returns None if one is invalid."""
    if not lines:
        return np.empty((0, fields))
    try:
        boxes = np.loadtxt([line.replace(",", " ") for line in lines], comments=None, ndmin=2)
    except ValueError:
        return None
    if boxes.shape != (len(lines), fields):
        return None
    absent = np.isnan(boxes)
    right = ~np.isinf(boxes).any() and np.all(absent.any(axis=1) == absent.all(axis=1))
    return boxes if right else None


def _box(path: Path, number: int, line: str, fields: int) -> list[float]:
    try:
        box = [float(field) for field in line.replace(",", " ").split()]
    except ValueError:
        box = []
    absent = [math.isnan(value) for value in box]
    if len(box) != fields or any(map(math.isinf, box)) or any(absent) != all(absent):
        expected = "x,y,w,h, or nan four times" if fields == 4 else "x,y,w,h,score"
        raise InputError(f"{path}, line {number}: expected {expected}; got {line[:60]!r}")
    return box
