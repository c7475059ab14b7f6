"""A plain folder of sequences: `D/<sequence>/img/*.jpg` and `D/<sequence>/groundtruth.txt`."""

from pathlib import Path
from typing import Literal

from asymtrack_jax.data.index import Part
from asymtrack_jax.data.readers.benchmark import (
    ALL,
    ListedImages,
    Selection,
    check_first,
    read_each,
)
from asymtrack_jax.data.readers.labels import require_folder
from asymtrack_jax.data.readers.text import read_boxes
from asymtrack_jax.data.sequences import Sequence, natural_sorted
from asymtrack_jax.errors import InputError

LAYOUT = (
    "expected one folder per sequence, <sequence>/img/*.jpg (or png) and "
    "<sequence>/groundtruth.txt with one line x,y,w,h per frame (0-based pixels, nan where the "
    "target is absent)"
)

_VAL_EVERY = 5  # every fifth sequence is for validation


def read_sequences(directory: Path, selection: Selection = ALL) -> list[Sequence]:
    """Reads the annotations of all sequences in a folder, in the order of their names.

    Subfolders with neither `img` nor `groundtruth.txt` are skipped. Images are read on access.

    Raises:
        InputError: see `read_each`.
    """
    folders = {folder.name: folder for folder in _folders(directory)}
    return read_each(directory, LAYOUT, folders, _read_sequence, selection)


def parts(root: Path, split: Literal["all", "train", "val"] = "all") -> list[Part]:
    """Lists the sequences; the target is visible where its box has area.

    Args:
        root: folder of the sequences.
        split: `val` is the first sequence, in the order of the names, and every fifth after it;
            `train` is the others.

    Raises:
        InputError: the folder is missing, holds no sequence, or only one to be split.
    """
    folders = _folders(root)
    if split != "all":
        if len(folders) == 1:
            raise InputError(
                f"{root} holds one sequence, {folders[0].name}: expected at least two, to train on "
                "one and validate on the other"
            )
        remainders = (0,) if split == "val" else range(1, _VAL_EVERY)
        folders = [folder for i, folder in enumerate(folders) if i % _VAL_EVERY in remainders]
    return [
        # A folder's time of modification changes with the images in it.
        Part.of((folder / "img", folder / "groundtruth.txt"), _read_listed, folder)
        for folder in folders
    ]


def _folders(directory: Path) -> list[Path]:
    require_folder(directory, LAYOUT)
    folders = [
        folder
        for folder in natural_sorted(directory)
        if (folder / "img").is_dir() or (folder / "groundtruth.txt").is_file()
    ]
    if not folders:
        raise InputError(f"no sequences in {directory}: {LAYOUT}")
    return folders


def _read_sequence(folder: Path) -> Sequence:
    boxes = read_boxes(folder / "groundtruth.txt")
    return Sequence(folder.name, ListedImages(folder, "img", len(boxes)), boxes)


def _read_listed(folder: Path) -> Sequence:
    boxes = read_boxes(folder / "groundtruth.txt")
    sequence = Sequence(folder.name, ListedImages(folder, "img", len(boxes)).listed, boxes)
    check_first(sequence)
    return sequence
