"""NfS (Kiani Galoogahi et al., ICCV 2017): `<sequence>/<rate>/{<sequence>/*.jpg, <sequence>.txt}`.

<rate> is 30 or 240, in frames per second.
"""

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from asymtrack_jax.data.readers.benchmark import ALL, Selection, read_each, table
from asymtrack_jax.data.readers.text import read_lines
from asymtrack_jax.data.sequences import Sequence, numbered_images
from asymtrack_jax.errors import InputError

LAYOUT = (
    "expected NfS's original layout, <sequence>/<rate>/<sequence>/00001.jpg and so on and "
    "<sequence>/<rate>/<sequence>.txt, with <rate> 30 or 240"
)
_STRIDE = 8  # frames at 240 frames/s per frame at 30 frames/s


def read_sequences(root: Path, selection: Selection = ALL, *, rate: int) -> list[Sequence]:
    """Reads the annotations of the 100 sequences at a frame rate.

    Annotations give corners at 240 frames per second; at 30 every eighth line is used. Their labels
    of lost and occluded targets are ignored, as is usual.

    Args:
        root: root folder of the benchmark.
        selection: the sequences to read.
        rate: frames per second, 30 or 240.

    Raises:
        InputError: see `read_each`; an annotation is not in NfS's format, or does not have as many
            lines as the sequence has frames.
    """
    rows = {row["sequence"]: row for row in table("nfs")}
    return read_each(root, LAYOUT, rows, functools.partial(_read, root, rate), selection)


def _read(root: Path, rate: int, row: Mapping[str, str]) -> Sequence:
    folder, name = root / row["sequence"] / str(rate), row["sequence"]
    boxes = _read_boxes(folder / f"{name}.txt")
    if rate == 30:
        count = int(row["frames"])
        boxes = boxes[::_STRIDE] if len(boxes) > count + 1 else boxes
        if abs(len(boxes) - count) > 1:  # one more or less is common
            raise InputError(
                f"{folder / name}.txt annotates {len(boxes)} of {count} frames at 30 frames/s"
            )
        boxes = boxes[:count]
    images = numbered_images(folder / name, "{:05}.jpg", range(1, len(boxes) + 1))
    return Sequence(name, images, boxes)


def _read_boxes(path: Path) -> Float64[np.ndarray, "N 4"]:
    """Reads lines of track, xmin, ymin, xmax, ymax, frame and more."""
    corners = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            x1, y1, x2, y2 = (float(field) for field in line.split()[1:5])
        except ValueError as error:
            raise InputError(
                f"{path}, line {number}: expected track, xmin, ymin, xmax, ymax; got {line[:60]!r}"
            ) from error
        corners.append((x1, y1, x2, y2))
    array = np.array(corners, np.float64).reshape(-1, 4)
    return np.concatenate([array[:, :2], array[:, 2:] - array[:, :2]], axis=1)
