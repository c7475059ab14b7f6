"""UAV123 (Mueller et al., ECCV 2016): `data_seq/UAV123/<folder>/*.jpg`, `anno/UAV123/*.txt`."""

import functools
from collections.abc import Mapping
from pathlib import Path

from asymtrack_jax.data.readers.benchmark import ALL, Selection, read_each, read_part, table
from asymtrack_jax.data.sequences import Sequence, numbered_images

LAYOUT = (
    "expected UAV123's original layout, data_seq/UAV123/<folder>/000001.jpg and so on and "
    "anno/UAV123/<sequence>.txt"
)


def read_sequences(root: Path, selection: Selection = ALL) -> list[Sequence]:
    """Reads the annotations of the 123 sequences, some of which are parts of one folder's frames.

    Raises:
        InputError: see `read_each`; an annotation does not have one line per frame.
    """
    rows = {row["sequence"]: row for row in table("uav123")}
    return read_each(root, LAYOUT, rows, functools.partial(_read, root), selection)


def _read(root: Path, row: Mapping[str, str]) -> Sequence:
    annotation = root / "anno" / "UAV123" / f"{row['sequence']}.txt"
    boxes, numbers = read_part(annotation, row)
    images = numbered_images(root / "data_seq" / "UAV123" / row["folder"], "{:06}.jpg", numbers)
    return Sequence(row["sequence"], images, boxes)
