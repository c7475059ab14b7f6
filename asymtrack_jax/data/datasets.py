"""Data sets by name: which reader, and which part of the data set."""

import functools
from collections.abc import Callable
from pathlib import Path

from asymtrack_jax.data.index import Part, SequenceIndex, open_index
from asymtrack_jax.data.readers import coco, folder, got10k, lasot, trackingnet, tracks
from asymtrack_jax.errors import InputError

DATASETS: dict[str, Callable[[Path], list[Part]]] = {
    # What the published recipe trains on:
    "lasot": lasot.parts,
    "got10k_vot_train": functools.partial(got10k.parts, split="vot_train"),
    "coco": coco.parts,
    "trackingnet": trackingnet.parts,
    # and validates on:
    "got10k_vot_val": functools.partial(got10k.parts, split="vot_val"),
    "got10k_train": functools.partial(got10k.parts, split="train"),
    "got10k_val": functools.partial(got10k.parts, split="val"),
    "folder": folder.parts,
    "tracks": functools.partial(tracks.parts, split="tracks"),
    "stills": functools.partial(tracks.parts, split="stills"),
}


def open_dataset(name: str, root: Path, cache: Path | None = None) -> SequenceIndex:
    """Opens the index of a data set.

    Args:
        name: in `DATASETS`.
        root: the folder that the data set unpacks to.
        cache: a folder to keep indexes in; see `open_index`.

    Raises:
        InputError: no data set has that name, or its files are missing or damaged.
        OSError: the cache cannot be written.
    """
    if name not in DATASETS:
        raise InputError(f"unknown data set {name!r}; there are: {', '.join(DATASETS)}")
    return open_index(root, DATASETS[name](root), cache)
