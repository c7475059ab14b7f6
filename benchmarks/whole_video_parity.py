"""Compares `VideoTracker` with `Tracker` over a folder of sequences, and times both, alternating.

`python -m benchmarks.whole_video_parity --data-dir D` (D/<sequence>/img/*.jpg and groundtruth.txt)
prints one line per sequence: the largest difference of boxes, in pixels; the number of search crops
with different squares; the largest difference of crops of the same square, in grey levels; with
`--rounds N`, milliseconds per frame of both (medians of N rounds, without reading frames and
copying them to the device). `--checkpoint C` names a checkpoint; the default is tiny with random
weights.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import jax
import numpy as np

from asymtrack_jax.benchmark.network import random_variables
from asymtrack_jax.compilation import enable_compilation_cache
from asymtrack_jax.config import VARIANTS
from asymtrack_jax.data.crop import crop_square
from asymtrack_jax.data.readers.folder import read_sequences
from asymtrack_jax.models.fuse import fuse
from asymtrack_jax.tracking.device_crop import crop_squares
from asymtrack_jax.tracking.model import Model, load
from asymtrack_jax.tracking.tracker import Tracker
from asymtrack_jax.tracking.whole_video import VideoTracker


def squares(bboxes: np.ndarray, factor: float) -> np.ndarray:
    """Returns left, top and side, in pixels, of the square that the host crops around each box."""
    side = np.ceil(np.sqrt(bboxes[:, 2] * bboxes[:, 3]) * factor)
    corner = np.round(bboxes[:, :2] + 0.5 * bboxes[:, 2:] - 0.5 * side[:, None])
    return np.column_stack([corner, side])


def compare_crops(model: Model) -> Callable[[np.ndarray, np.ndarray], int]:
    """Returns a function that compares the crops of host and device around a box in a frame.

    It returns their largest difference in grey levels.
    """
    c = model.config
    device_crop = jax.jit(lambda *of: crop_squares(*of, c.search_factor, c.search_size)[0])  # pyright: ignore[reportCallIssue]

    def compare(frame: np.ndarray, bbox: np.ndarray) -> int:
        theirs, _ = crop_square(frame, bbox, c.search_factor, c.search_size)
        with jax.enable_x64(True):
            ours = device_crop(frame[None, None], 0, bbox[None])[0]
        return int(np.abs(np.asarray(ours, int) - theirs).max())

    return compare


def main() -> None:
    """Compares and prints one line per sequence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--checkpoint")
    parser.add_argument("--chunk", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=0)
    options = parser.parse_args()
    tiny = VARIANTS["tiny"]
    model = (
        load(options.checkpoint)
        if options.checkpoint
        else Model(tiny, fuse(random_variables(tiny)))
    )
    enable_compilation_cache()
    print(
        f"{jax.devices()[0].device_kind}, {os.cpu_count()} cores, {platform.machine()}, jax "
        f"{jax.__version__}, OpenCV {cv2.__version__}, chunks of {options.chunk}"
    )
    compare = compare_crops(model)
    host, device = Tracker(model), VideoTracker(model, options.chunk)
    for sequence in read_sequences(options.data_dir):
        frames = np.stack([sequence.frames[i] for i in range(len(sequence.frames))])
        chunks = np.split(frames[1:], range(options.chunk, len(frames) - 1, options.chunk))
        first, rest = jax.device_put((frames[0], chunks))

        def follow_on_host(frames=frames, bbox=sequence.boxes[0]) -> np.ndarray:
            host.init(frames[0], bbox)
            return np.stack([host.update(frame)[0] for frame in frames[1:]])

        def follow_on_device(first=first, rest=rest, bbox=sequence.boxes[0]) -> np.ndarray:
            device.init(first, bbox)
            return np.concatenate([device.update(part)[0] for part in rest])

        on_host, on_device = follow_on_host(), follow_on_device()
        factor = model.config.search_factor
        same = (squares(on_host, factor) == squares(on_device, factor)).all(axis=1)
        grey = max(map(compare, frames[1:], on_host))
        line = (
            f"{sequence.name}: {len(frames)} frames of {frames.shape[2]}x{frames.shape[1]}, boxes "
            f"differ by {np.abs(on_host - on_device).max():.1e} px, {(~same).sum()} squares, crops "
            f"by {grey} levels"
        )
        seconds: dict[str, list[float]] = {"host": [], "device": []}
        for _ in range(options.rounds):
            for name, follow in (("host", follow_on_host), ("device", follow_on_device)):
                start = time.perf_counter()
                follow()
                seconds[name].append((time.perf_counter() - start) / (len(frames) - 1))
        if options.rounds:
            line += "".join(f", {n} {1e3 * np.median(s):.1f} ms" for n, s in seconds.items())
        print(line, flush=True)


if __name__ == "__main__":
    main()
