"""Video in: frames of files, folders, cameras and rendered clips."""

import dataclasses
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from asymtrack_jax.data.sequences import IMAGE_SUFFIXES, image_files, read_frame
from asymtrack_jax.data.synthetic import render_clip
from asymtrack_jax.errors import InputError

Frame = UInt8[np.ndarray, "H W 3"]

DEFAULT_FPS = 25.0  # of a source that does not say, such as a folder of images


@dataclasses.dataclass(frozen=True)
class FrameSource:
    """Frames to read once, one at a time.

    Attributes:
        first_frame: uint8 RGB [H, W, 3].
        frames: all frames, `first_frame` among them. A frame that cannot be read raises
            `InputError`; sizes may differ.
        fps: frames per second.
        num_frames: how many there are; None if that is not known, as for a camera.
        path: the video file; None if the source is none.
        truth: the only target's true boxes, xywh in pixels, where they are known.
    """

    first_frame: Frame
    frames: Iterator[Frame]
    fps: float = DEFAULT_FPS
    num_frames: int | None = None
    path: Path | None = None
    truth: Float[np.ndarray, "T 4"] | None = None


def open_source(name: str | None, seed: int = 0) -> FrameSource:
    """Opens a video file, a folder of images, a camera (by index: 0, 1, ...) or a rendered clip.

    Images are taken in the order of their names, where numbers count by value: 2 before 10.

    Args:
        name: None for the clip.
        seed: of the clip.

    Raises:
        InputError: there is no such thing, it is of another kind, or it holds no readable frame.
    """
    if name is None:
        clip = render_clip(120, (360, 480), seed)
        return FrameSource(clip[0], iter(clip), num_frames=len(clip), truth=clip.boxes)
    path = Path(name)
    if path.is_dir():
        return _open_folder(path)
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        raise InputError(f"{path} is one image: pass its folder, or a video")
    if path.is_file():
        problem = f"{path} is not a video that OpenCV can read"
        return _open_capture(cv2.VideoCapture(str(path)), problem, path)
    if re.fullmatch(r"\d{1,2}", name):
        return _open_capture(cv2.VideoCapture(int(name)), f"camera {name} gives no picture", None)
    raise InputError(f"{name}: no such video file, folder of images or camera index")


def _open_folder(folder: Path) -> FrameSource:
    paths = image_files(folder)
    if not paths:
        raise InputError(f"{folder} holds no images ({' '.join(sorted(IMAGE_SUFFIXES))})")
    frames = map(read_frame, paths)
    first = next(frames)
    return FrameSource(first, itertools.chain([first], frames), num_frames=len(paths))


def _open_capture(capture: cv2.VideoCapture, problem: str, path: Path | None) -> FrameSource:
    frames = _read_capture(capture)
    first = next(frames, None)
    if first is None:
        raise InputError(problem)
    fps, count = capture.get(cv2.CAP_PROP_FPS), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return FrameSource(
        first,
        itertools.chain([first], frames),
        fps if 0 < fps <= 1000 else DEFAULT_FPS,  # containers and cameras may claim anything
        count if count > 0 else None,
        path,
    )


def _read_capture(capture: cv2.VideoCapture) -> Iterator[Frame]:
    while True:
        read, image = capture.read()
        if not read:
            return
        yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
