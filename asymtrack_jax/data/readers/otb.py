"""OTB-100 (Wu et al., TPAMI 2015): `<folder>/{img/*.jpg, groundtruth_rect.txt}`."""

import functools
from collections.abc import Mapping
from pathlib import Path

from asymtrack_jax.data.readers.benchmark import ALL, Selection, read_each, read_part, table
from asymtrack_jax.data.sequences import Sequence, numbered_images

LAYOUT = (
    "expected OTB100's original layout, <sequence>/img/0001.jpg and so on and "
    "<sequence>/groundtruth_rect.txt (for Jogging, Skating2 and Human4 groundtruth_rect.1.txt or "
    ".2.txt)"
)


def read_sequences(root: Path, selection: Selection = ALL) -> list[Sequence]:
    """Reads the annotations of the 100 sequences, under the names that published results use.

    Some sequences are a part of their folder's frames, with one line of annotation per frame of
    that part; of Tiger1 the first five frames are left out. Boxes are 1-based on disk and 0-based
    here.

    Raises:
        InputError: see `read_each`; an annotation does not have one line per frame.
    """
    rows = {row["sequence"]: row for row in table("otb100")}
    return read_each(root, LAYOUT, rows, functools.partial(_read, root), selection)


def _read(root: Path, row: Mapping[str, str]) -> Sequence:
    annotation = root / row["folder"] / row["annotation"]
    boxes, numbers = read_part(annotation, row)
    boxes[:, :2] -= 1
    omitted = int(row["omitted"])
    pattern = f"img/{{:0{row['digits']}}}.jpg"
    images = numbered_images(root / row["folder"], pattern, numbers[omitted:])
    return Sequence(row["sequence"], images, boxes[omitted:])
