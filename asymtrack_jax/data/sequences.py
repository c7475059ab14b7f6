"""Sequences, sources of training pairs, and reading of frames."""

import dataclasses
import functools
import os
import re
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8

from asymtrack_jax.errors import InputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
_JPEG_END = b"\xff\xd9"

Frame = UInt8[np.ndarray, "_ _ 3"]  # height, width, RGB


@runtime_checkable
class Frames(Protocol):
    """Frames of a video, uint8 RGB, read on access; raises `InputError` if one cannot be read."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Frame: ...


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """Frames in the image files of a folder.

    Attributes:
        folder: the folder.
        files: paths of the files below the folder, in order, as bytes (`numpy.bytes_`).
    """

    folder: Path
    files: np.ndarray

    def __len__(self) -> int:
        return len(self.files)

    def path(self, index: int) -> Path:
        """Returns the path of a frame's file."""
        return self.folder / os.fsdecode(self.files[index])

    def __getitem__(self, index: int) -> Frame:
        return read_frame(self.path(index))


def numbered_images(folder: Path, pattern: str, numbers: range) -> Images:
    """Returns the frames in consecutively numbered files, `pattern.format(number)` in a folder."""
    names = _numbered(pattern, numbers.start, 1 << len(numbers).bit_length())
    return Images(folder, names[: len(numbers)])


@functools.cache
def _numbered(pattern: str, first: int, count: int) -> np.ndarray:
    """Returns file names, which sequences of similar length share."""
    return np.array([pattern.format(number).encode() for number in range(first, first + count)])


def listed_images(folder: Path, subfolder: str = "") -> Images:
    """Lists the images in a subfolder of a folder in the order of `natural_sorted`."""
    files = [os.fsencode(path.relative_to(folder)) for path in image_files(folder / subfolder)]
    return Images(folder, np.array(files, np.bytes_))


@dataclasses.dataclass(frozen=True, eq=False)
class Sequence:
    """A video with one annotated target.

    Attributes:
        name: name of the sequence, unique in its dataset; result files are named after it.
        frames: frames, uint8 RGB.
        boxes: xywh in pixels of the stored images, with the top-left corner of the image at 0, 0;
            NaN where the target is absent. The first box is valid: trackers start from it.
        visible: whether the target is visible; None if the dataset has no such labels.
        size: height and width of the frames; None if the dataset does not record them.
    """

    name: str
    frames: Frames
    boxes: Float64[np.ndarray, "N 4"]
    visible: Bool[np.ndarray, " N"] | None = None
    size: tuple[int, int] | None = None


@runtime_checkable
class Source(Protocol):
    """Annotated sequences to draw training pairs from; a still is a sequence of one frame.

    Sources are pickled to worker processes, so memory-mapped arrays should be pickled as paths.
    """

    @property
    def name(self) -> str:
        """Name of the source in messages."""
        ...

    @property
    def offsets(self) -> Int64[np.ndarray, " ends"]:
        """Bounds of the sequences: sequence i is the rows `offsets[i]` to `offsets[i + 1]`."""
        ...

    @property
    def boxes(self) -> Float32[np.ndarray, "N 4"]:
        """Target of each row, xywh in pixels of the frame that `read` returns."""
        ...

    @property
    def visible(self) -> Bool[np.ndarray, " N"]:
        """Whether the target of each row is visible; False where it has no box."""
        ...

    def read(self, row: int) -> Frame:
        """Reads the frame of a row; raises `InputError` if it cannot be read."""
        ...

    def frame_name(self, row: int) -> str:
        """Names a row's frame for messages."""
        ...


def natural_sorted(directory: Path) -> list[Path]:
    """Lists a folder without hidden entries, sorted by name with numbers by value: 2 before 10."""

    def key(path: Path) -> list[str | int]:
        parts = re.split(r"([0-9]+)", path.name)
        return [int(part) if index % 2 else part for index, part in enumerate(parts)]

    return sorted((p for p in directory.iterdir() if not p.name.startswith(".")), key=key)


def image_files(directory: Path) -> list[Path]:
    """Lists the images in a folder in the order of `natural_sorted`."""
    return [path for path in natural_sorted(directory) if path.suffix.lower() in IMAGE_SUFFIXES]


def read_frame(path: Path) -> Frame:
    """Reads an image as uint8 RGB, also if it is greyscale or has an alpha channel.

    Raises:
        InputError: the file cannot be read, or is not a complete image (`decode_frame`).
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read frame {path}: {error.strerror}") from error
    return decode_frame(data, path)


def decode_frame(data: bytes, name: object) -> Frame:
    """Decodes the content of an image file as uint8 RGB; `name` is for messages.

    Damage inside a JPEG's scan is not detected: the format has no checksum, and OpenCV does not
    report its decoder's warnings.

    Raises:
        InputError: the content is not an image, or a truncated JPEG, whose missing part OpenCV
            would silently fill with grey.
    """
    odd_end = data.startswith(b"\xff\xd8") and not data.endswith(_JPEG_END)
    if odd_end and data.rfind(_JPEG_END) < data.rfind(b"\xff\xda"):
        raise InputError(f"frame {name} is truncated: the end of the JPEG is missing")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    except cv2.error as error:  # such as more pixels than OpenCV allows
        raise InputError(f"cannot decode frame {name}: {error.err}") from error
    if image is None:
        raise InputError(f"frame {name} is not an image, or damaged")
    return image  # pyright: ignore[reportReturnType]
