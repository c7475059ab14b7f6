"""Datasets by name: their readers, splits, and fields of `config.Roots`."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from asymtrack_jax.config import DataConfig
from asymtrack_jax.data import records
from asymtrack_jax.data.index import Part, SequenceIndex, open_index
from asymtrack_jax.data.readers import coco, folder, got10k, lasot, trackingnet, tracks
from asymtrack_jax.data.sequences import Source
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import expand_home

DATASETS: dict[str, Callable[[Path], list[Part]]] = {
    # Training sets of the published recipe:
    "lasot": lasot.parts,
    "got10k_vot_train": functools.partial(got10k.parts, split="vot_train"),
    "coco": coco.parts,
    "trackingnet": trackingnet.parts,
    # Validation set of the published recipe:
    "got10k_vot_val": functools.partial(got10k.parts, split="vot_val"),
    # Others:
    "got10k_train": functools.partial(got10k.parts, split="train"),
    "got10k_val": functools.partial(got10k.parts, split="val"),
    "folder": folder.parts,
    "folder_train": functools.partial(folder.parts, split="train"),
    "folder_val": functools.partial(folder.parts, split="val"),
    "tracks": functools.partial(tracks.parts, split="tracks"),
    "stills": functools.partial(tracks.parts, split="stills"),
}

_SOURCES = (*DATASETS, "prepared/<folder>", "synthetic")


def read_index(name: str, root: Path, cache: Path | None = None) -> SequenceIndex:
    """Opens the index of a dataset in its original layout.

    Args:
        name: one of `DATASETS`.
        root: root folder of the dataset.
        cache: folder of cached indexes; see `open_index`.

    Raises:
        InputError: no dataset has that name, or its files are missing or damaged.
        OSError: the cache cannot be written.
    """
    if name not in DATASETS:
        raise InputError(f"unknown dataset {name!r}; there are: {', '.join(DATASETS)}")
    return open_index(root, DATASETS[name](root), cache)


def open_dataset(name: str, root: Path, cache: Path | None = None) -> Source:
    """Opens a dataset in its original layout, or one that `data.prepare` prepared.

    Args:
        name: one of `DATASETS`, or `prepared` for a prepared folder of any of them.
        root: root folder of the dataset.
        cache: folder of cached indexes; see `open_index`.

    Raises:
        InputError: no dataset has that name, its files are missing or damaged, or the folder was
            prepared from another dataset.
        OSError: the cache cannot be written.
    """
    if name == "prepared":
        return records.open_records(root)
    if (root / records.METADATA).is_file():
        return records.open_records(root, name)
    return read_index(name, root, cache)


def open_source(name: str, data: DataConfig, seed: int = 0) -> Source:
    """Opens a source of a configuration.

    Args:
        name: one of `DATASETS`; `prepared/<folder>`, a folder below `data.roots.prepared`; or
            `synthetic`.
        data: root folders of the datasets, and settings of `synthetic`.
        seed: random seed of `synthetic`; training and validation need different ones.

    Raises:
        InputError: there is no such source, or it cannot be opened. The message names the
            configuration's field.
        OSError: the cache cannot be written.
    """
    if name == "synthetic":
        from asymtrack_jax.data.synthetic import SyntheticSource

        return SyntheticSource(data.synthetic, seed)
    field, root = _root(name, data)
    try:
        return open_dataset(field if field == "prepared" else name, root, expand_home(data.cache))
    except InputError as error:
        raise InputError(f"{error} (config.data.roots.{field}, for {name!r})") from error


def check_roots(names: Sequence[str], data: DataConfig) -> None:
    """Checks that sources and the folders that they read exist, without opening them.

    Raises:
        InputError: there is no such source, or folders are missing (all named in one message).
    """
    folders = []
    for name in dict.fromkeys(names):
        if name == "synthetic":
            material = {kind: getattr(data.synthetic, kind) for kind in ("cutouts", "backgrounds")}
            folders += [
                (f"synthetic.{kind}", path, name) for kind, path in material.items() if path
            ]
        else:
            field, root = _root(name, data)
            folders.append((f"roots.{field}", root, name))
    missing = [
        f"\n  {path} (config.data.{field}, for {name!r})"
        for field, path, name in folders
        if not path.is_dir()
    ]
    if missing:
        raise InputError(
            f"no such folders:{''.join(missing)}\n"
            "without data, train on rendered video: `--config synthetic`"
        )


def open_sources(names: Sequence[str], data: DataConfig, seed: int = 0) -> list[Source]:
    """Opens several sources; see `open_source`.

    Raises:
        InputError: see `open_source`; missing folders are all named in one message.
        OSError: the cache cannot be written.
    """
    check_roots(names, data)
    return [open_source(name, data, seed) for name in names]


def shared_frames(training: Sequence[Source], held_out: Sequence[Source]) -> list[str]:
    """Names the first frame of each sequence that is both trained and validated on."""
    return sorted(
        frame
        for ours in training
        for theirs in held_out
        if ours.name == theirs.name
        for frame in _first_frames(ours) & _first_frames(theirs)
    )


def _first_frames(source: Source) -> set[str]:
    return {source.frame_name(row) for row in source.offsets[:-1].tolist()}


def _root(name: str, data: DataConfig) -> tuple[str, Path]:
    """Returns the field of `config.Roots` of a dataset, and the dataset's root folder."""
    kind, _, folder = name.partition("/")
    if kind == "prepared":
        return kind, expand_home(data.roots.prepared) / folder
    if name not in DATASETS:
        raise InputError(f"unknown dataset {name!r}; there are: {', '.join(_SOURCES)}")
    fields = {"got10k": "got10k", "folder": "folder", "stills": "tracks"}
    field = fields.get(name.partition("_")[0], name)
    return field, expand_home(getattr(data.roots, field))
