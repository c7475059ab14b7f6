"""Data sets as ArrayRecord, through TFDS but without TensorFlow.

python -m asymtrack_jax.data.records prepare --dataset lasot --data_dir D --output O

A prepared folder holds
- `frames/`, a TFDS data set of one split, `frames`: a record an image, its file byte for byte;
- `index/`, the annotations as `data.index` keeps them;
- `records.npy`, the record of each row of the index: the stills of one photograph share it;
- `records.json`, which says what data set it is, and how large the files of records are.
"""

import argparse
import dataclasses
import functools
import importlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tqdm
from jaxtyping import Bool, Float32, Int64

from asymtrack_jax.data.index import SequenceIndex, map_index, store_index
from asymtrack_jax.data.output import whole_folder
from asymtrack_jax.data.sequences import Frame, decode_frame
from asymtrack_jax.errors import InputError, run_main

MARKER = "records.json"

_FORMAT = 1
_SPLIT = "frames"
_SHARD = 50_000  # images a file: readers keep every file open
_NAMED = 10  # missing images that a message names


@dataclasses.dataclass(frozen=True, eq=False)
class RecordSource:
    """A prepared data set: a `Source`.

    Attributes:
        directory: where it lies.
        index: its annotations; the images' paths are those that they were prepared from.
        records: the record of each row.
    """

    directory: Path
    index: SequenceIndex
    records: Int64[np.ndarray, " N"]

    @property
    def name(self) -> str:
        """The folder."""
        return os.fspath(self.directory)

    @property
    def offsets(self) -> Int64[np.ndarray, " ends"]:
        """Sequence i is the rows `offsets[i]` to `offsets[i + 1]`."""
        return self.index.offsets

    @property
    def boxes(self) -> Float32[np.ndarray, "N 4"]:
        """Each row's target, xywh in pixels of the image."""
        return self.index.boxes

    @property
    def visible(self) -> Bool[np.ndarray, " N"]:
        """False where the target cannot be seen or has no box."""
        return self.index.visible

    def read(self, row: int) -> Frame:
        """The frame of a row; `InputError` if its image is damaged."""
        image = self._images[int(self.records[row])]["image"]
        return decode_frame(image, self.frame_name(row))

    def frame_name(self, row: int) -> str:
        """The record of a row, and the image that it was."""
        return f"{self.directory}, record {self.records[row]} ({self.index.frame_path(row)})"

    @functools.cached_property
    def _images(self) -> Any:
        tfds = _tfds()
        builder = tfds.builder_from_directory(self.directory / "frames")
        return builder.as_data_source(_SPLIT, decoders={"image": tfds.decode.SkipDecoding()})

    def __reduce__(self) -> tuple[Any, ...]:
        """It travels to a worker process as the name of its folder."""
        return _map, (self.directory,)


def prepare(index: SequenceIndex, dataset: str, output: Path) -> None:
    """Copies a data set's images into records, with a progress bar.

    Images are not decoded: a damaged one stays so, and is passed over in training.

    Args:
        index: the data set.
        dataset: its name, which `open_records` will be asked for.
        output: a new folder. It appears when it is complete.

    Raises:
        InputError: images are missing (the first ones are named), `output` exists, or another
            process is writing it.
        OSError: an image cannot be read, or `output` not be written.
    """
    rows, records = _distinct_images(index)

    def paths(action: str) -> Iterator[Path]:
        return (index.frame_path(int(row)) for row in tqdm.tqdm(rows, action, unit="image"))

    with whole_folder(output) as folder:
        if missing := [path for path in paths("looking for images") if not path.is_file()]:
            listed = "".join(f"\n  {path}" for path in missing[:_NAMED])
            raise InputError(
                f"{len(missing)} of {len(rows)} images in {index.root} are missing:{listed}"
            )
        store_index(index, folder / "index")
        np.save(folder / "records.npy", records)
        _write_images(folder / "frames", paths("copying images"))
        sizes = {file.name: file.stat().st_size for file in (folder / "frames").iterdir()}
        marker = {"format": _FORMAT, "dataset": dataset, "files": sizes}
        (folder / MARKER).write_text(json.dumps(marker))


def open_records(directory: Path, dataset: str) -> RecordSource:
    """Opens what `prepare` made.

    Raises:
        InputError: it was made from another data set, by another version of this program, or a
            file of records is missing or incomplete.
    """
    marker = json.loads((directory / MARKER).read_text())
    if marker["format"] != _FORMAT:
        raise InputError(
            f"{directory} was prepared by another version of data.records: prepare it again"
        )
    if marker["dataset"] != dataset:
        raise InputError(
            f"{directory} holds records of {marker['dataset']!r}, not of {dataset!r}: name the "
            f"data set {marker['dataset']!r}, or another folder"
        )
    for name, size in marker["files"].items():
        file = directory / "frames" / name
        if not file.is_file() or file.stat().st_size != size:
            raise InputError(f"{file} is missing or incomplete: copy it again, {size} bytes")
    return _map(directory)


def _map(directory: Path) -> RecordSource:
    records = np.load(directory / "records.npy", mmap_mode="r")
    return RecordSource(directory, map_index(directory / "index"), records)


def _distinct_images(
    index: SequenceIndex,
) -> tuple[Int64[np.ndarray, " images"], Int64[np.ndarray, " N"]]:
    """The first row of each image, in order; and which of the images each row shows."""
    stills = np.flatnonzero(np.diff(index.offsets) == 1)
    rows = index.offsets[stills]
    names = np.rec.fromarrays([index.folders[stills], index.files[rows]])
    _, first, image = np.unique(names, return_index=True, return_inverse=True)
    shown = np.arange(len(index.files))
    shown[rows] = rows[first][image]
    return np.unique(shown, return_inverse=True)


def _write_images(directory: Path, paths: Iterable[Path]) -> None:
    # Not a GeneratorBasedBuilder: beyond 1 GiB that one sorts what it was given in files of its
    # own, for which it needs TensorFlow, and all of one data set in memory.
    tfds = _tfds()
    directory.mkdir()
    identity = tfds.core.DatasetIdentity(
        name="frames",
        version=tfds.core.Version("1.0.0"),
        data_dir=os.fspath(directory),
        module_name=__name__,
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        features=tfds.features.FeaturesDict({"image": tfds.features.Image()}),
        disable_shuffling=True,
    )
    writer = tfds.core.SequentialWriter(info, _SHARD, file_format="array_record")
    writer.initialize_splits([_SPLIT])
    writer.add_examples({_SPLIT: ({"image": io.BytesIO(path.read_bytes())} for path in paths)})
    writer.close_all()


def _tfds() -> Any:
    """Takes a second, and is not needed for data sets as they unpack."""
    return importlib.import_module("tensorflow_datasets")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepares as the command line says."""
    # What is prepared here is opened there, so it cannot be imported above.
    from asymtrack_jax.data.datasets import DATASETS, read_index

    parser = argparse.ArgumentParser(description="Data sets as ArrayRecord, through TFDS.")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("prepare", help="turns a data set into ArrayRecord")
    command.add_argument("--dataset", choices=DATASETS, required=True)
    command.add_argument("--data-dir", "--data_dir", type=Path, required=True, help="its folder")
    command.add_argument("--output", type=Path, required=True, help="a new folder")
    options = parser.parse_args(arguments)
    index = read_index(options.dataset, options.data_dir)
    prepare(index, options.dataset, options.output)
    print(f"{options.output}: {len(index)} sequences, {len(index.boxes)} frames")


if __name__ == "__main__":
    run_main(main)
