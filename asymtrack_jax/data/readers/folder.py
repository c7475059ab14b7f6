"""A plain folder of sequences: `D/<sequence>/img/*.jpg` and `D/<sequence>/groundtruth.txt`."""

import functools
import os
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float64

from asymtrack_jax.data.index import Annotation, Part
from asymtrack_jax.data.readers.benchmark import ALL, ListedImages, Selection, read_each
from asymtrack_jax.data.readers.labels import has_area, require_folder
from asymtrack_jax.data.readers.text import read_boxes
from asymtrack_jax.data.sequences import Sequence, image_files, natural_sorted
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
        Part((folder / "img", folder / "groundtruth.txt"), functools.partial(_annotation, folder))
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


def _annotation(folder: Path) -> list[Annotation]:
    frames, boxes = _read_labels(folder)
    files = np.array([os.fsencode(path.relative_to(folder)) for path in frames])
    return [Annotation(folder.name, files, boxes, has_area(boxes))]


def _read_sequence(folder: Path) -> Sequence:
    boxes = read_boxes(folder / "groundtruth.txt")
    return Sequence(folder.name, ListedImages(folder / "img", len(boxes)), boxes)


def _read_labels(folder: Path) -> tuple[tuple[Path, ...], Float64[np.ndarray, "N 4"]]:
    images, annotation = folder / "img", folder / "groundtruth.txt"
    if not images.is_dir():
        raise InputError(f"no folder {images}")
    frames = tuple(image_files(images))
    if not frames:
        raise InputError(f"no images in {images}")
    boxes = read_boxes(annotation)
    if len(boxes) != len(frames):
        raise InputError(f"{annotation} has {len(boxes)} lines for {len(frames)} images")
    _check_first(annotation, boxes[0])
    return frames, boxes


def _check_first(annotation: Path, box: Float64[np.ndarray, "4"]) -> None:
    if not (box[2:] > 0).all():  # False if NaN
        raise InputError(
            f"{annotation}, line 1: the first box must have a positive size; got {box.tolist()}"
        )
