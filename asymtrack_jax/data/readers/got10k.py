"""GOT-10k (Huang et al., TPAMI 2021): `train/{list.txt, GOT-10k_Train_000001/*}`, `val`, `test`."""

import re
from pathlib import Path
from typing import Literal

from asymtrack_jax.data.index import Part
from asymtrack_jax.data.readers.benchmark import ALL, Selection, only_first, read_each
from asymtrack_jax.data.readers.labels import (
    read_labels,
    require_folder,
    require_image,
    split_list,
)
from asymtrack_jax.data.readers.text import read_boxes, read_lines
from asymtrack_jax.data.sequences import Sequence, listed_images, numbered_images
from asymtrack_jax.errors import InputError

LAYOUT = (
    "expected GOT-10k's original layout, train/list.txt and, in each folder that it lists, "
    "00000001.jpg and so on, groundtruth.txt, absence.label and cover.label; val likewise"
)
TEST_LAYOUT = (
    "expected GOT-10k's original layout, test/list.txt and, in each folder that it lists, "
    "00000001.jpg and so on and groundtruth.txt"
)
VAL_LAYOUT = (
    "expected GOT-10k's original layout, val/list.txt and, in each folder that it lists, "
    "00000001.jpg and so on, groundtruth.txt, cover.label and meta_info.ini"
)
LABELS = ("groundtruth.txt", "absence.label", "cover.label")


def read_validation(root: Path, selection: Selection = ALL) -> list[Sequence]:
    """Reads the annotations of the 180 validation sequences.

    The target is visible where it is not fully occluded; absence labels are ignored, as in the
    benchmark's toolkit.

    Raises:
        InputError: see `read_each`; the list is missing.
    """
    folder = root / "val"
    return read_each(folder, VAL_LAYOUT, _listed(folder), _read_validation, selection)


def read_test(root: Path, selection: Selection = ALL) -> list[Sequence]:
    """Reads the first boxes and lists the images of the 180 test sequences.

    The other boxes are withheld by the benchmark, and NaN here.

    Raises:
        InputError: see `read_each`; the list is missing.
    """
    folder = root / "test"
    return read_each(folder, TEST_LAYOUT, _listed(folder), _read_test, selection)


def _listed(folder: Path) -> dict[str, Path]:
    names = [line.strip() for line in read_lines(folder / "list.txt")]
    return {name: folder / name for name in names}


def _read_validation(folder: Path) -> Sequence:
    boxes = read_boxes(folder / "groundtruth.txt")
    cover = read_labels(folder / "cover.label", len(boxes))
    images = numbered_images(folder, "{:08}.jpg", range(1, len(boxes) + 1))
    return Sequence(folder.name, images, boxes, cover > 0, _image_size(folder / "meta_info.ini"))


def _image_size(path: Path) -> tuple[int, int]:
    found = re.search(r"^resolution: *\((\d+), *(\d+)\)", "\n".join(read_lines(path)), re.M)
    if found is None:
        raise InputError(f"{path} has no line `resolution: (width, height)`")
    width, height = map(int, found.groups())
    return height, width


def _read_test(folder: Path) -> Sequence:
    boxes = read_boxes(folder / "groundtruth.txt")
    require_image(folder / "00000001.jpg")
    images = listed_images(folder)
    return Sequence(folder.name, images, only_first(boxes, len(images)))


def parts(
    root: Path, split: Literal["train", "val", "vot_train", "vot_val"] = "vot_train"
) -> list[Part]:
    """Lists the sequences of a split.

    The target is visible where it is neither absent nor fully occluded and its box has area.

    Args:
        root: root folder, which holds `train` and `val`.
        split: `train` or `val` as published with the dataset, or `vot_train` or `vot_val`, the
            usual division of `train` without the sequences that VOT uses too.

    Raises:
        InputError: a folder or a list is missing, or the list is too short for the split.
    """
    part = "val" if split == "val" else "train"
    require_folder(root / part, LAYOUT)
    listing = root / part / "list.txt"
    names = read_lines(listing)
    if split.startswith("vot_"):
        numbers = [int(line) for line in split_list(f"got10k_{split}_split")]
        if len(names) <= max(numbers):
            raise InputError(
                f"{listing} names {len(names)} sequences, but {split} needs number {max(numbers)}"
            )
        names = [names[number] for number in numbers]
    if not names:
        raise InputError(f"{listing} names no sequences")
    folders = [root / part / name.strip() for name in names]
    return [Part.of((folder / label for label in LABELS), _read, folder) for folder in folders]


def _read(folder: Path) -> Sequence:
    boxes = read_boxes(folder / "groundtruth.txt")
    absence, cover = (read_labels(folder / label, len(boxes)) for label in LABELS[1:])
    images = numbered_images(folder, "{:08}.jpg", range(1, len(boxes) + 1))
    return Sequence(folder.name, images, boxes, (absence == 0) & (cover > 0))
