"""Frames, files of them, and a tracker that needs no network."""

from pathlib import Path

import cv2
import numpy as np

from asymtrack_jax.errors import InputError
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


class FakeTracker:
    """Moves every box right by one pixel a frame; calls `on_update` first."""

    def __init__(self, on_update=lambda index: None):
        self.index, self.on_update = 0, on_update
        self.ids: list[int] = []

    def init(self, frame, init_bbox):
        if (init_bbox < 0).any():
            raise InputError("init_bbox is negative")
        self.bboxes = dict(enumerate(init_bbox.copy()))
        self.ids = list(self.bboxes)

    def add(self, frame, bbox):
        target = max(self.bboxes, default=-1) + 1
        self.bboxes[target] = bbox
        self.ids.append(target)
        return target

    def remove(self, target):
        self.ids.remove(target)

    def reinit(self, target, frame, bbox):
        self.bboxes[target] = bbox

    def update(self, frame):
        self.index += 1
        self.on_update(self.index)
        self.bboxes = {
            target: bbox + np.array([1, 0, 0, 0]) for target, bbox in self.bboxes.items()
        }
        bboxes = np.array([self.bboxes[target] for target in self.ids]).reshape(-1, 4)
        scores = [0.125 if self.index == 2 and target == 0 else 0.5 for target in self.ids]
        return bboxes, np.array(scores, np.float32)
