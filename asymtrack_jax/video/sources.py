"""Sources of frames: video files, folders of images, cameras, streams and rendered clips."""

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Sized
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float

from asymtrack_jax.data.readers.text import read_boxes
from asymtrack_jax.data.sequences import IMAGE_SUFFIXES, Frame, image_files, read_frame
from asymtrack_jax.data.synthetic import render_clip
from asymtrack_jax.errors import InputError

DEFAULT_FPS = 25.0  # of sources without a frame rate, such as folders of images
DEFAULT_SEED = 3  # of a rendered clip that the weights in the package can follow


@dataclasses.dataclass(frozen=True)
class FrameSource:
    """Frames that can be read once, in order.

    Attributes:
        first_frame: uint8 RGB [H, W, 3].
        frames: all frames, the first included; sizes may differ. Raises `InputError` if a frame
            cannot be read.
        fps: frames per second.
        num_frames: number of frames; None if it is not known, as for cameras.
        path: path of the video file; None for other sources.
        truth: true boxes of one target, xywh in pixels, NaN where unknown; None if there are none.
    """

    first_frame: Frame
    frames: Iterator[Frame]
    fps: float = DEFAULT_FPS
    num_frames: int | None = None
    path: Path | None = None
    truth: Float[np.ndarray, "T 4"] | None = None


def open_source(name: str | None, seed: int = DEFAULT_SEED) -> FrameSource:
    """Opens a source of frames.

    Args:
        name: a video file; a folder of images; a folder with images in `img/` and boxes in
            `groundtruth.txt`; a camera's index (0, 1, ...); a URL (such as rtsp:// or http://) or
            a GStreamer pipeline (with an appsink) in OpenCV's syntax; None for a rendered clip.
            Images are sorted by name with numbers by value: 2 before 10.
        seed: random seed of the rendered clip, at least 0.

    Raises:
        InputError: the source does not exist, is of another kind, or has no readable frame.
    """
    if name is None:
        if seed < 0:
            raise InputError(f"the clip's seed must be at least 0; got {seed}")
        clip = render_clip(120, (360, 480), seed)
        return FrameSource(clip[0], iter(clip), num_frames=len(clip), truth=clip.boxes)
    if re.match(r"[a-z][a-z0-9+.-]*://", name, re.IGNORECASE):
        problem = f"{name}: OpenCV cannot open this URL, or gets no frame from it"
        if name.lower().startswith("http"):
            problem += "; most .mp4 files need a server that answers range requests"
        return _open_capture(cv2.VideoCapture(name), problem, None)
    if " ! " in name:
        problem = f"{name}: OpenCV cannot run this pipeline"
        if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
            problem += "; it was built without GStreamer"
        return _open_capture(cv2.VideoCapture(name, cv2.CAP_GSTREAMER), problem, None)
    path = Path(name)
    if path.is_dir():
        return _open_sequence(path) if (path / "img").is_dir() else _open_folder(path)
    if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
        raise InputError(f"{path} is one image: pass its folder, or a video")
    if path.is_file():
        problem = f"{path} is not a video that OpenCV can read"
        return _open_capture(cv2.VideoCapture(str(path)), problem, path)
    if re.fullmatch(r"\d{1,2}", name):
        return _open_capture(cv2.VideoCapture(int(name)), f"camera {name} gives no picture", None)
    raise InputError(
        f"{name}: no such video file, folder of images, camera index, URL or GStreamer pipeline"
    )


def source_of(frames: Iterable[Frame]) -> FrameSource:
    """Makes a source of frames in memory or from a generator.

    Args:
        frames: frames, uint8 RGB [H, W, 3].

    Raises:
        InputError: `frames` is not iterable, or empty.
    """
    try:
        iterator = iter(frames)
    except TypeError as error:
        found = type(frames).__name__
        raise InputError(f"expected a video's name or its frames, got {found}") from error
    first = next(iterator, None)
    if first is None:
        raise InputError("there are no frames to track")
    count = len(frames) if isinstance(frames, Sized) else None
    return FrameSource(first, itertools.chain([first], iterator), num_frames=count)


def _open_sequence(folder: Path) -> FrameSource:
    """Opens a sequence; `groundtruth.txt` may be missing, or hold only the first box."""
    source, annotation = _open_folder(folder / "img"), folder / "groundtruth.txt"
    if not annotation.is_file():
        return source
    boxes, count = read_boxes(annotation), source.num_frames or 0
    if len(boxes) not in (1, count):
        raise InputError(
            f"{annotation} has {len(boxes)} boxes for {count} images: expected one for each, or "
            "the first"
        )
    truth = np.full((count, 4), np.nan)
    truth[: len(boxes)] = boxes
    return dataclasses.replace(source, truth=truth)


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
        fps if 0 < fps < 1000 else DEFAULT_FPS,  # 1000: the clock of what browsers record
        count if count > 0 else None,
        path,
    )


def _read_capture(capture: cv2.VideoCapture) -> Iterator[Frame]:
    try:
        while True:
            read, image = capture.read()
            if not read:
                return
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    finally:  # also if the iterator is closed early
        capture.release()
