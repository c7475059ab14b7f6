"""Small sequences on disk, and trackers that need no network."""

import cv2
import numpy as np

from asymtrack_jax.data.readers import folder
from asymtrack_jax.tracking.tracker import check_init_bboxes


def write_sequences(directory, lengths):
    """Grey sequences by name and length, as bright as their number; the target moves a pixel."""
    for offset, (name, length) in enumerate(lengths.items()):
        images = directory / name / "img"
        images.mkdir(parents=True)
        for index in range(length):
            cv2.imwrite(str(images / f"{index}.png"), np.full((30, 40, 3), index, np.uint8))
        lines = [f"{5.5 + offset + index},6,10,12" for index in range(length)]
        (images.parent / "groundtruth.txt").write_text("\n".join(lines))
    return folder.read_sequences(directory)


class FakeSlots:
    """Moves each box one pixel to the right a frame, and remembers what it was shown."""

    def __init__(self, count=1):
        self.count = count
        self.boxes, self.starts, self.steps = {}, [], []

    def start(self, slot, frame, init_bbox):
        check_init_bboxes(init_bbox[None], *frame.shape[:2])
        self.boxes[slot] = init_bbox
        if frame.shape[0] != 64:  # the runner's warm-up
            self.starts.append((slot, init_bbox[0]))

    def advance(self, frames):
        if next(iter(frames.values())).shape[0] != 64:
            self.steps.append({slot: int(frame[0, 0, 0]) for slot, frame in frames.items()})
        for slot in frames:
            self.boxes[slot] = self.boxes[slot] + np.array([1.0, 0, 0, 0])
        return {slot: (self.boxes[slot], 0.5) for slot in frames}
