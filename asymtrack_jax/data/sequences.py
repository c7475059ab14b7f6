"""What a sequence is, and how one of its frames is read."""

import dataclasses
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
    """A video's frames, RGB, each made when it is asked for; `InputError` if it cannot be."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Frame: ...


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Frames that are image files.

    Attributes:
        paths: in order.
    """

    paths: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Frame:
        return read_frame(self.paths[index])


@dataclasses.dataclass(frozen=True, eq=False)
class Sequence:
    """A video with one annotated target.

    Attributes:
        name: unique in its data set; its results are filed under it.
        frames: image files, or what is rendered.
        boxes: xywh in pixels of the stored images, the top-left pixel's corner at 0, 0; NaN where
            the target is absent. The first is a real box: trackers start from it.
        visible: False where the target cannot be seen, if the set says so.
        size: height and width of the frames, if the set says so.
    """

    name: str
    frames: Frames
    boxes: Float64[np.ndarray, "N 4"]
    visible: Bool[np.ndarray, " N"] | None = None
    size: tuple[int, int] | None = None


@runtime_checkable
class Source(Protocol):
    """Annotated sequences that pairs are drawn from; a still is a sequence of one frame.

    It is copied to worker processes by pickle, so that what is mapped from files should travel as
    their name.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def offsets(self) -> Int64[np.ndarray, " ends"]:
        """Sequence i is the rows `offsets[i]` to `offsets[i + 1]`."""
        ...

    @property
    def boxes(self) -> Float32[np.ndarray, "N 4"]:
        """Each row's target, xywh in pixels of the frame as it is read."""
        ...

    @property
    def visible(self) -> Bool[np.ndarray, " N"]:
        """False where the target cannot be seen or has no box."""
        ...

    def read(self, row: int) -> Frame:
        """A row's frame; `InputError` if it cannot be read."""
        ...

    def frame_name(self, row: int) -> str:
        """What messages call a row's frame."""
        ...


def natural_sorted(directory: Path) -> list[Path]:
    """What a folder holds, by name with numbers by value (2 before 10), less hidden entries."""

    def key(path: Path) -> list[str | int]:
        parts = re.split(r"([0-9]+)", path.name)
        return [int(part) if index % 2 else part for index, part in enumerate(parts)]

    return sorted((p for p in directory.iterdir() if not p.name.startswith(".")), key=key)


def image_files(directory: Path) -> list[Path]:
    """The images in a folder, in order."""
    return [path for path in natural_sorted(directory) if path.suffix.lower() in IMAGE_SUFFIXES]


def read_frame(path: Path) -> Frame:
    """Reads an image as RGB; grey and transparent images become RGB too.

    Raises:
        InputError: the file is missing, or `decode_frame` refuses what is in it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read frame {path}: {error.strerror}") from error
    return decode_frame(data, path)


def decode_frame(data: bytes, name: object) -> Frame:
    """Decodes an image file's content as RGB; `name` is for messages.

    Damage within a JPEG's scan goes unnoticed: the format has no checksum, and OpenCV does not pass
    on what its decoder may find.

    Raises:
        InputError: it is no image, or a JPEG that breaks off. OpenCV would fill the rest of that
            with grey and carry on.
    """
    odd_end = data.startswith(b"\xff\xd8") and not data.endswith(_JPEG_END)
    if odd_end and data.rfind(_JPEG_END) < data.rfind(b"\xff\xda"):
        raise InputError(f"frame {name} breaks off: the end of the JPEG is missing")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if data else None
    except cv2.error as error:  # such as more pixels than OpenCV allows
        raise InputError(f"cannot decode frame {name}: {error.err}") from error
    if image is None:
        raise InputError(f"frame {name} is not an image, or damaged")
    return image  # pyright: ignore[reportReturnType]
