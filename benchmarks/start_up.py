"""Measures start-up: seconds from the start of a process to its first tracked box, by part.

`python -m benchmarks.start_up [CHECKPOINT]` (by default the package's weights) prints them with an
empty compilation cache and, median of `RUNS` processes, with a warm one.
"""

import json
import os
import subprocess
import sys
import tempfile
import time

RUNS = 5


def first_box(checkpoint: str, epoch: float) -> None:
    """Tracks one frame as `asymtrack track` does and prints the seconds of each part.

    Args:
        checkpoint: directory of the checkpoint; empty for the package's weights.
        epoch: start of this process, by `time.time()`.
    """
    times = {"": epoch, "interpreter": time.time()}
    import numpy as np

    from asymtrack_jax.tracking.model import load
    from asymtrack_jax.tracking.tracker import Tracker

    times["imports"] = time.time()
    model = load(checkpoint) if checkpoint else load()
    times["checkpoint"] = time.time()
    frame = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    tracker = Tracker(model)
    tracker.init(frame, [580, 300, 120, 120])
    times["init"] = time.time()
    tracker.update(frame)
    times["first update"] = time.time()
    seconds = np.diff(list(times.values())).tolist()
    print(json.dumps(dict(zip(list(times)[1:], seconds, strict=True))))


def main(checkpoint: str = "") -> None:
    """Runs the processes sequentially, and prints one line per state of the cache."""
    from asymtrack_jax.compilation import LEAST_SECONDS  # here: importing it is measured above

    with tempfile.TemporaryDirectory() as cache:

        def run() -> dict[str, float]:
            command = [sys.executable, "-m", "benchmarks.start_up", checkpoint, repr(time.time())]
            settings = {
                "JAX_COMPILATION_CACHE_DIR": cache,
                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": str(LEAST_SECONDS),
            }
            environment = os.environ | settings
            return json.loads(subprocess.check_output(command, env=environment).splitlines()[-1])

        def show(name: str, parts: dict[str, float]) -> None:
            named = ", ".join(f"{part} {seconds:.2f}" for part, seconds in parts.items())
            print(f"{name}: {sum(parts.values()):.2f} s ({named})")

        show("empty compilation cache", run())
        runs = sorted((run() for _ in range(RUNS)), key=lambda parts: sum(parts.values()))
        show("warm compilation cache", runs[RUNS // 2])


if __name__ == "__main__":
    if len(sys.argv) == 3:
        first_box(sys.argv[1], float(sys.argv[2]))
    else:
        main(*sys.argv[1:])
