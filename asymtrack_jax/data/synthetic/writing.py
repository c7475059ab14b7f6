"""Writes sequences in the layout that `data.readers.folder` reads."""

from pathlib import Path

import cv2
import numpy as np

from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import atomic_directory


def write_sequence(sequence: Sequence, folder: Path, jpeg_quality: int) -> None:
    """Writes a sequence's images and boxes atomically; does nothing if they exist already.

    The files are `img/*.jpg` and `groundtruth.txt`, one line x,y,w,h per frame, nan where the
    target is absent or not visible.

    Args:
        sequence: the sequence to write.
        folder: folder to write.
        jpeg_quality: quality of the images, 0 to 100.

    Raises:
        InputError: the folder holds something else, or a frame cannot be read.
        OSError: the folder cannot be written.
    """
    boxes = sequence.boxes.copy()
    if sequence.visible is not None:
        boxes[~sequence.visible] = np.nan
    text = "".join(",".join(f"{value:.3f}" for value in box) + "\n" for box in boxes)
    if folder.exists():
        annotation = folder / "groundtruth.txt"
        if not annotation.is_file() or annotation.read_text() != text:
            raise InputError(f"{folder} holds something else: choose another output, or remove it")
        return
    with atomic_directory(folder) as partial:
        (partial / "img").mkdir()
        for index in range(len(sequence.frames)):
            image = cv2.cvtColor(sequence.frames[index], cv2.COLOR_RGB2BGR)
            data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])[1]
            (partial / "img" / f"{index + 1:08}.jpg").write_bytes(data.tobytes())
        (partial / "groundtruth.txt").write_text(text)
