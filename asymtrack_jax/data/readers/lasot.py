"""LaSOT (Fan et al., CVPR 2019): `<class>/<class>-<N>/{img/*.jpg, groundtruth.txt, ...}`."""

import functools
from collections.abc import Iterable
from pathlib import Path

from asymtrack_jax.data.index import Part
from asymtrack_jax.data.readers.benchmark import ALL, Selection, read_each
from asymtrack_jax.data.readers.labels import read_labels, require_folder, split_list
from asymtrack_jax.data.readers.text import read_boxes
from asymtrack_jax.data.sequences import Sequence, natural_sorted, numbered_images
from asymtrack_jax.errors import InputError

LAYOUT = (
    "expected LaSOT's original layout, <class>/<class>-<N>/img/00000001.jpg and, beside img, "
    "groundtruth.txt, full_occlusion.txt and out_of_view.txt"
)
LABELS = ("groundtruth.txt", "full_occlusion.txt", "out_of_view.txt")
EXTENSION = (  # LaSOT_ext: ten sequences of each class
    *("atv", "badminton", "cosplay", "dancingshoe", "footbag", "frisbee", "jianzi", "lantern"),
    *("misc", "opossum", "paddle", "raccoon", "rhino", "skatingshoe", "wingsuit"),
)


def read_sequences(root: Path, selection: Selection = ALL) -> list[Sequence]:
    """Reads the annotations of the 280 test sequences.

    The target is visible where it is neither fully occluded nor out of view.

    Raises:
        InputError: see `read_each`.
    """
    return _read_sequences(root, split_list("lasot_testing_set"), selection)


def read_extension(root: Path, selection: Selection = ALL) -> list[Sequence]:
    """Reads the annotations of the 150 sequences of LaSOT's extension, in the same layout.

    Raises:
        InputError: see `read_each`.
    """
    names = [f"{name}-{number}" for name in EXTENSION for number in range(1, 11)]
    return _read_sequences(root, names, selection)


def _read_sequences(root: Path, names: Iterable[str], selection: Selection) -> list[Sequence]:
    items = {name: name for name in names}
    return read_each(root, LAYOUT, items, functools.partial(_read, root), selection)


def parts(root: Path) -> list[Part]:
    """Lists the sequences that are not in the testing set: 1,120 if the folder is complete.

    The target is visible where it is neither fully occluded nor out of view and its box has area.

    Args:
        root: root folder, which holds one folder per class.

    Raises:
        InputError: the folder is missing or holds no such sequence.
    """
    require_folder(root, LAYOUT)
    testing = set(split_list("lasot_testing_set"))
    classes = [path for path in natural_sorted(root) if path.is_dir()]
    present = [path.name for each in classes for path in natural_sorted(each) if path.is_dir()]
    names = [name for name in present if "-" in name and name not in testing]
    if not names:
        raise InputError(f"no training sequences in {root}: {LAYOUT}")
    return [
        Part.of((_folder(root, name) / label for label in LABELS), _read, root, name)
        for name in names
    ]


def _folder(root: Path, name: str) -> Path:
    return root / name.rpartition("-")[0] / name


def _read(root: Path, name: str) -> Sequence:
    folder = _folder(root, name)
    boxes = read_boxes(folder / "groundtruth.txt")
    full_occlusion, out_of_view = (read_labels(folder / label, len(boxes)) for label in LABELS[1:])
    images = numbered_images(folder, "img/{:08}.jpg", range(1, len(boxes) + 1))
    return Sequence(name, images, boxes, (full_occlusion | out_of_view) == 0)
