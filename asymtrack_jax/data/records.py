"""Prepared data sets: images in ArrayRecord files that TFDS opens, annotations as an index.

A prepared folder, which `asymtrack prepare` writes, holds
- `frames/`, a TFDS data set of one split, `frames`, with one record per image;
- `index/`, the annotations as `data.index` stores them;
- `records.npy`, the record of each row of the index: the stills of one photograph share it;
- `records.json`, the metadata: which data set it is, whether frames were cropped, the files' sizes.

Reading takes grain, but neither TFDS nor TensorFlow.
"""

import dataclasses
import functools
import importlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64

from asymtrack_jax.data.index import SequenceIndex, map_index, save_index
from asymtrack_jax.data.sequences import Frame, decode_frame
from asymtrack_jax.errors import InputError

METADATA = "records.json"

_FORMAT = 1
_SPLIT = "frames"
_SHARD = 50_000  # images per file: readers keep every file open


@dataclasses.dataclass(frozen=True, eq=False)
class RecordSource:
    """A prepared data set: a `Source`.

    Attributes:
        directory: the prepared folder.
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
        return decode_frame(_image(self._examples[int(self.records[row])]), self.frame_name(row))

    def frame_name(self, row: int) -> str:
        """The record of a row, and the image that it was made from."""
        return f"{self.directory}, record {self.records[row]} ({self.index.frame_path(row)})"

    @functools.cached_property
    def _examples(self) -> Any:
        import grain  # here, as it is not needed for data sets in their original layout

        files = sorted((self.directory / "frames").glob("*.array_record*"))
        return grain.sources.ArrayRecordDataSource([os.fspath(file) for file in files])

    def __reduce__(self) -> tuple[Any, ...]:
        """It travels to a worker process as the name of its folder."""
        return _map, (self.directory,)


def open_records(directory: Path, dataset: str | None = None) -> RecordSource:
    """Opens a prepared folder.

    Args:
        directory: the folder.
        dataset: the data set that it must have been prepared from; None for any.

    Raises:
        InputError: it is no prepared folder, was prepared from another data set or by another
            version of this program, or a file of records is missing or incomplete.
    """
    try:
        metadata = json.loads((directory / METADATA).read_text())
    except (OSError, ValueError) as error:
        raise InputError(
            f"{directory} is no prepared data set ({METADATA}: {error}): see "
            "`asymtrack prepare --help`"
        ) from error
    if metadata["format"] != _FORMAT:
        raise InputError(f"{directory} was prepared by another version: prepare it again")
    if dataset not in (None, metadata["dataset"]):
        raise InputError(
            f"{directory} holds records of {metadata['dataset']!r}, not of {dataset!r}: name the "
            f"data set {metadata['dataset']!r}, or another folder"
        )
    for name, size in metadata["files"].items():
        file = directory / "frames" / name
        if not file.is_file() or file.stat().st_size != size:
            raise InputError(f"{file} is missing or incomplete: copy it again, {size} bytes")
    return _map(directory)


def _map(directory: Path) -> RecordSource:
    records = np.load(directory / "records.npy", mmap_mode="r")
    return RecordSource(directory, map_index(directory / "index"), records)


def write_images(directory: Path, images: Iterable[bytes]) -> None:
    """Writes the contents of image files, in order, as the TFDS data set `frames`."""
    # Not a GeneratorBasedBuilder: beyond 1 GiB that one sorts what it was given in files of its
    # own, for which it needs TensorFlow, and all of one data set in memory.
    tfds = importlib.import_module("tensorflow_datasets")
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
    writer.add_examples({_SPLIT: ({"image": io.BytesIO(image)} for image in images)})
    writer.close_all()


def write_annotations(
    directory: Path,
    index: SequenceIndex,
    records: Int64[np.ndarray, " N"],
    metadata: Mapping[str, Any],
) -> None:
    """Completes a prepared folder that has its images.

    Args:
        directory: the folder; `write_images` has written `directory/frames`.
        index: the annotations.
        records: the record of each row.
        metadata: `dataset`, and how it was prepared; JSON.
    """
    save_index(index, directory / "index")
    np.save(directory / "records.npy", records)
    sizes = {file.name: file.stat().st_size for file in (directory / "frames").iterdir()}
    content = {"format": _FORMAT, **metadata, "files": sizes}
    (directory / METADATA).write_text(json.dumps(content, indent=1))


def _image(example: bytes) -> bytes:
    """The image in a record: TFDS writes a `tf.train.Example` of one feature, a list of bytes."""
    for number in (1, 1, 2, 1, 1):  # features, its one entry, its value, bytes_list, value
        example = _fields(example)[number]
    return example


def _fields(message: bytes) -> dict[int, bytes]:
    """A protobuf message whose fields are all length-delimited and numbered below 16."""
    fields, position = {}, 0
    while position < len(message):
        number, length, shift = message[position] >> 3, 0, 0
        position += 1
        while message[position] & 0x80:
            length |= (message[position] & 0x7F) << shift
            position, shift = position + 1, shift + 7
        length |= message[position] << shift
        fields[number] = message[position + 1 : position + 1 + length]
        position += 1 + length
    return fields
