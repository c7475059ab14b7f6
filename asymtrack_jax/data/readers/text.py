"""Boxes in text files of datasets and trackers: one line per frame."""

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
    boxes = _parse(lines, fields)
    if boxes is None:
        first, end = 0, len(lines)  # of a part with an invalid line, which is halved
        while end - first > 1:
            middle = (first + end) // 2
            valid = _parse(lines[first:middle], fields) is not None
            first, end = (middle, end) if valid else (first, middle)
        expected = "x,y,w,h,score" if with_score else "x,y,w,h, or nan four times"
        raise InputError(
            f"{path}, line {first + 1}: expected {expected}; got {lines[first][:60]!r}"
        )
    return boxes


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


def _parse(lines: list[str], fields: int) -> Float64[np.ndarray, "N fields"] | None:
    """Parses lines all at once, which is fast; returns None if one is invalid."""
    if not lines:
        return np.empty((0, fields))
    if not all(line.strip() for line in lines):
        return None
    try:
        boxes = np.loadtxt([line.replace(",", " ") for line in lines], comments=None, ndmin=2)
    except ValueError:
        return None
    if boxes.shape != (len(lines), fields):
        return None
    absent = np.isnan(boxes)
    valid = ~np.isinf(boxes).any() and np.all(absent.any(axis=1) == absent.all(axis=1))
    return boxes if valid else None
