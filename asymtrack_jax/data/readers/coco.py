"""COCO 2017 (Lin et al., ECCV 2014) as stills: `annotations/instances_train2017.json`, images."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from asymtrack_jax.data.index import Part
from asymtrack_jax.data.readers.labels import require_folder, stills
from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.errors import InputError

LAYOUT = (
    "expected COCO 2017's layout, annotations/instances_train2017.json and the images in "
    "train2017 or images/train2017"
)


def parts(root: Path) -> list[Part]:
    """Lists the stills of `train2017`: one still per object that is not a crowd.

    Small objects are included, as in the published training, whose filter of objects of at most 50
    pixels per side does not apply to stills. Objects without area are left out.

    Raises:
        InputError: a folder is missing.
    """
    require_folder(root, LAYOUT)
    images = "images/train2017" if (root / "images" / "train2017").is_dir() else "train2017"
    require_folder(root / images, LAYOUT)
    file = root / "annotations" / "instances_train2017.json"
    return [Part((file,), functools.partial(_read, file, root / images))]


def _read(file: Path, folder: Path) -> Iterator[Sequence]:
    try:
        # Without the outlines, which are most of the file and would take gigabytes.
        content = json.loads(file.read_bytes(), object_hook=_without_outline)
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}. {LAYOUT}") from error
    except ValueError as error:
        raise InputError(f"{file} is not JSON: {error}") from error
    try:
        names = {image["id"]: image["file_name"].encode() for image in content["images"]}
        objects = [item for item in content["annotations"] if not item["iscrowd"]]
        files = np.array([names[item["image_id"]] for item in objects])
        boxes = np.array([item["bbox"] for item in objects], np.float64).reshape(-1, 4)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file} is not in the format of COCO's annotations: {error!r}") from error
    yield from stills(folder, files, boxes)


def _without_outline(values: dict[str, Any]) -> dict[str, Any]:
    values.pop("segmentation", None)
    return values
