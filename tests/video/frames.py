"""Frames and files of them."""

from pathlib import Path

import cv2
import numpy as np

from asymtrack_jax.video.writers import VideoWriter


def plain(value: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    """A frame whose red channel tells it from others."""
    frame = np.zeros((*size, 3), np.uint8)
    frame[..., 0] = value
    return frame


def write_video(path: Path, values: list[int], fps: float = 25.0) -> None:
    with VideoWriter(path, fps) as video:
        for value in values:
            video.write(plain(value))


def write_image(path: Path, value: int) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(plain(value), cv2.COLOR_RGB2BGR))
