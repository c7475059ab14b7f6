"""Cropped tracks and stills: `tracks/<sequence>/{*.jpg, boxes.csv}` and `stills/boxes.json`."""

import csv
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from asymtrack_jax.data.index import Part
from asymtrack_jax.data.readers.labels import require_folder, stills
from asymtrack_jax.data.readers.text import read_lines
from asymtrack_jax.data.sequences import Images, Sequence, natural_sorted
from asymtrack_jax.errors import InputError

LAYOUT = (
    "expected tracks/<sequence>/*.jpg with boxes.csv (a header file,x,y,w,h and one line per "
    "frame), and stills/boxes.json (a list of {file, boxes: [[x, y, w, h, class], ...]}) with the "
    "images"
)


def parts(root: Path, split: Literal["tracks", "stills"] = "tracks") -> list[Part]:
    """Lists the tracks, or the stills: one still per box of a photograph.

    Frames that boxes.csv does not list are not part of the track, nor counted in gaps.

    Args:
        root: root folder, which holds `tracks` and `stills`.
        split: which of the two.

    Raises:
        InputError: the folder is missing or empty.
    """
    require_folder(root / split, LAYOUT)
    if split == "stills":
        file = root / "stills" / "boxes.json"
        return [Part((file,), functools.partial(_read_stills, file))]
    folders = [path for path in natural_sorted(root / "tracks") if path.is_dir()]
    if not folders:
        raise InputError(f"no tracks in {root / 'tracks'}: {LAYOUT}")
    files = [folder / "boxes.csv" for folder in folders]
    return [Part.of([file], _read_track, file) for file in files]


def _read_track(file: Path) -> Sequence:
    rows = list(csv.DictReader(read_lines(file)))
    try:
        files = np.array([row["file"].encode() for row in rows])
        boxes = np.array([[float(row[side]) for side in "xywh"] for row in rows])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is not a list of boxes ({error!r}): {LAYOUT}") from error
    if not rows:
        raise InputError(f"{file} lists no frames: {LAYOUT}")
    return Sequence(file.parent.name, Images(file.parent, files), boxes)


def _read_stills(file: Path) -> Iterator[Sequence]:
    try:
        content = json.loads(file.read_bytes())
        found = [(item["file"].encode(), box[:4]) for item in content for box in item["boxes"]]
        names = np.array([name for name, _ in found])
        boxes = np.array([box for _, box in found], np.float64).reshape(-1, 4)
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}. {LAYOUT}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is not a list of boxes ({error!r}): {LAYOUT}") from error
    yield from stills(file.parent, names, boxes)
