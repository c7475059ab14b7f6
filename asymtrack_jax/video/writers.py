"""Writers of video files and GIF animations, which leave no incomplete files."""

import fcntl
import os
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from jaxtyping import UInt8

from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import write_atomically

CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}  # available in every build of OpenCV
GIF, GIF_SIDE, GIF_FPS = ".gif", 320, 12.5  # maximum side in pixels, frames per second


def open_writer(path: Path, fps: float) -> "VideoWriter | GifWriter":
    """Returns a writer for the suffix of a path.

    Args:
        path: path of the video, which is written when the writer is closed.
        fps: frames per second.

    Raises:
        InputError: the suffix is none of .mp4, .mkv, .avi and .gif, or the folder is missing or
            not writable.
    """
    kinds = dict.fromkeys(CODECS, VideoWriter) | {GIF: GifWriter}
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path}: the output's name must end in one of {', '.join(kinds)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; create it first")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"{path} cannot be written; choose another output")
    return kind(path, fps)


class VideoWriter:
    """Writes RGB frames to a video of the first frame's size; others are letterboxed to it.

    The file appears, or replaces an existing one, when the writer is closed after at least one
    frame.

    Attributes:
        path: path of the video.
    """

    def __init__(self, path: Path, fps: float):
        self.path, self._fps = path, fps
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        self._writer: cv2.VideoWriter | None = None
        self._lock: BinaryIO | None = None  # of the partial file
        self._size = (0, 0)  # height, width
        self._count = 0

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, frame: Frame) -> None:
        """Appends a frame, uint8 RGB [H, W, 3].

        Raises:
            InputError: OpenCV cannot write such a video here, or another writer writes it already.
        """
        if self._writer is None:
            self._lock = _locked(self._partial, self.path)
            self._size = frame.shape[:2]
            codec = cv2.VideoWriter.fourcc(*CODECS[self.path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(self._partial), codec, self._fps, self._size[::-1])
            if not self._writer.isOpened():
                raise InputError(f"{self.path}: OpenCV cannot write frames of size {self._size}")
        self._writer.write(cv2.cvtColor(letterbox(frame, *self._size), cv2.COLOR_RGB2BGR))
        self._count += 1

    def close(self) -> None:
        """Finishes the video and moves it into place.

        Raises:
            InputError: the video on disk is incomplete, for example because the disk is full:
                OpenCV does not report failed writes.
        """
        if self._writer is None or self._lock is None:
            return
        self._writer.release()
        self._writer = None
        with self._lock:
            if not self._count:
                self._partial.unlink(missing_ok=True)
                return
            written = cv2.VideoCapture(str(self._partial))
            count = written.get(cv2.CAP_PROP_FRAME_COUNT)
            written.release()
            if count != self._count:
                self._partial.unlink(missing_ok=True)
                raise InputError(f"{self.path} could not be written completely: is the disk full?")
            self._partial.replace(self.path)


def _locked(partial: Path, path: Path) -> BinaryIO:
    """Opens a partial file and locks it until it is closed, so that only one writer writes it."""
    file = partial.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise InputError(f"{path} is being written by another process: choose another") from error
    except OSError:  # some network file systems have no locks
        pass
    return file


class GifWriter:
    """Writes RGB frames to a GIF of at most 320 pixels per side and some 12.5 frames per second.

    Larger frames are downscaled, and frames of a faster source are dropped; frames of another size
    than the first are letterboxed. All are held in memory until the writer is closed. The file
    appears, or replaces an existing one, when the writer is closed after at least one frame.

    Attributes:
        path: path of the animation.
    """

    def __init__(self, path: Path, fps: float):
        self.path = path
        self._stride = max(1, round(fps / GIF_FPS))
        self._milliseconds = round(1000 * self._stride / fps)
        self._frames: list[Frame] = []
        self._count = 0

    def __enter__(self) -> "GifWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, frame: Frame) -> None:
        """Appends a frame, uint8 RGB [H, W, 3]."""
        if self._count % self._stride == 0:
            size = self._frames[0].shape[:2] if self._frames else _at_most(frame, GIF_SIDE)
            self._frames.append(cv2.cvtColor(letterbox(frame, *size), cv2.COLOR_RGB2BGR))
        self._count += 1

    def close(self) -> None:
        """Writes the file.

        Raises:
            OSError: the disk is full.
        """
        frames, self._frames = self._frames, []
        if not frames:
            return
        animation = cv2.Animation()
        animation.frames = frames
        animation.durations = [self._milliseconds] * len(frames)
        _, encoded = cv2.imencodeanimation(GIF, animation)
        write_atomically(self.path, encoded.tobytes())


def _at_most(frame: Frame, side: int) -> tuple[int, int]:
    """Returns the height and width of a frame downscaled to a maximum side."""
    height, width = frame.shape[:2]
    scale = min(1.0, side / max(height, width))
    return max(1, round(scale * height)), max(1, round(scale * width))


def letterbox(frame: Frame, height: int, width: int) -> UInt8[np.ndarray, "{height} {width} 3"]:
    """Scales a frame to fit a size, centred on black; returns it unchanged if it has that size."""
    if frame.shape[:2] == (height, width):
        return frame
    scale = min(height / frame.shape[0], width / frame.shape[1])
    h, w = (max(1, round(side * scale)) for side in frame.shape[:2])
    canvas = np.zeros((height, width, 3), np.uint8)
    y, x = (height - h) // 2, (width - w) // 2
    canvas[y : y + h, x : x + w] = cv2.resize(frame, (w, h), interpolation=cv2.INTER_AREA)
    return canvas
