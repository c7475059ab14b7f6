"""Prepared datasets: images in ArrayRecord files that TFDS opens, annotations as an index.

A prepared folder, which `asymtrack prepare` writes, holds
- `frames/`, a TFDS dataset of one split, `frames`, with one record per image;
- `index/`, the annotations as `data.index` stores them;
- `records.npy`, the number of the record of each row of the index, which stills of one photograph
  share;
- `records.json`, the metadata: the dataset's name, the options of cropping, the sizes of the files.

Reading needs grain, but neither TFDS nor TensorFlow.
"""

import functools
import importlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64

from asymtrack_jax.data.index import SequenceIndex, map_index, save_index
from asymtrack_jax.data.sequences import Frame, decode_frame
from asymtrack_jax.errors import InputError

METADATA = "records.json"

_FORMAT = 1
_SPLIT = "frames"
_SHARD = 50_000  # images per file: readers keep every file open


class RecordSource:
    """A prepared dataset, a `Source`.

    Args:
        directory: the prepared folder.

    Attributes:
        name: path of the prepared folder.
        offsets: sequence i is the rows `offsets[i]` to `offsets[i + 1]`.
        boxes: target of each row, xywh in pixels of the image.
        visible: whether the target of each row is visible; False where it has no box.
        records: number of the record of each row.
    """

    def __init__(self, directory: Path):
        self.name = os.fspath(directory)
        self.records: Int64[np.ndarray, " N"] = np.load(directory / "records.npy", mmap_mode="r")
        self._index = map_index(directory / "index")  # its paths are those of the original images
        self.offsets, self.boxes = self._index.offsets, self._index.boxes
        self.visible = self._index.visible

    def read(self, row: int) -> Frame:
        """Reads the frame of a row; raises `InputError` if its image is damaged."""
        return decode_frame(_image(self._examples[int(self.records[row])]), self.frame_name(row))

    def frame_name(self, row: int) -> str:
        """Names a row's frame for messages: its record and the original image."""
        return f"{self.name}, record {self.records[row]} ({self._index.frame_path(row)})"

    @functools.cached_property
    def _examples(self) -> Any:
        import grain  # not needed for datasets in their original layout

        files = sorted((Path(self.name) / "frames").glob("*.array_record*"))
        return grain.sources.ArrayRecordDataSource([os.fspath(file) for file in files])

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the path of the folder only; a worker process maps the files again."""
        return RecordSource, (Path(self.name),)


def open_records(directory: Path, dataset: str | None = None) -> RecordSource:
    """Opens a prepared folder.

    Args:
        directory: the folder.
        dataset: name of the dataset that it must have been prepared from; None for any.

    Raises:
        InputError: the folder is not a prepared one, was prepared from another dataset or in
            another format, or a file in it is missing or incomplete.
    """
    try:
        metadata = json.loads((directory / METADATA).read_text())
        version, prepared, files = (metadata[key] for key in ("format", "dataset", "files"))
        sizes = dict(files)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{directory} is not a prepared dataset ({METADATA}: {error!r}): see "
            "`asymtrack prepare --help`"
        ) from error
    if version != _FORMAT:
        raise InputError(f"{directory} was prepared by another version; prepare it again")
    if dataset not in (None, prepared):
        raise InputError(
            f"{directory} holds records of {prepared!r}, not of {dataset!r}: name the dataset "
            f"{prepared!r}, or another folder"
        )
    for name, size in sizes.items():
        file = directory / "frames" / name
        if not file.is_file() or file.stat().st_size != size:
            raise InputError(f"{file} is missing or incomplete: copy it again, {size} bytes")
    try:
        return RecordSource(directory)
    except (OSError, ValueError, EOFError) as error:  # as numpy raises them
        raise InputError(
            f"{directory} has annotations that are missing or incomplete: copy it again ({error})"
        ) from error


def write_images(directory: Path, images: Iterable[bytes]) -> None:
    """Writes the contents of image files, in order, as the TFDS dataset `frames`."""
    # Not by a GeneratorBasedBuilder: it shuffles more than 1 GiB through temporary files, which
    # needs TensorFlow and holds a whole dataset in memory.
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
    """Writes the annotations and metadata of a prepared folder, after its images.

    Args:
        directory: the folder; `write_images` has written `directory/frames`.
        index: the annotations.
        records: number of the record of each row.
        metadata: the dataset's name, `dataset`, and the options of preparation; JSON values.
    """
    save_index(index, directory / "index")
    np.save(directory / "records.npy", records)
    sizes = {file.name: file.stat().st_size for file in (directory / "frames").iterdir()}
    content = {"format": _FORMAT, **metadata, "files": sizes}
    (directory / METADATA).write_text(json.dumps(content, indent=1))


def _image(example: bytes) -> bytes:
    """Extracts the image of a record, a `tf.train.Example` with one feature, a list of bytes."""
    for number in (1, 1, 2, 1, 1):  # features, its one entry, its value, bytes_list, value
        example = _fields(example)[number]
    return example


def _fields(message: bytes) -> dict[int, bytes]:
    """Parses a protobuf message whose fields are all length-delimited and numbered below 16."""
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
