"""Start-up: `python -m asymtrack_jax.benchmark.first_box CHECKPOINT EPOCH`.

Does what `track.py` does up to its first box, and prints as a line of JSON how many seconds each
part took, counted from EPOCH: the moment that the process was started, by `time.time()`.
"""

import json
import sys
import time


def main(checkpoint: str, epoch: float) -> None:
    """Prints the seconds of each part."""
    parts: dict[str, float] = {}
    last = epoch

    def done(part: str) -> None:
        nonlocal last
        now = time.time()
        parts[part], last = now - last, now

    done("interpreter")
    import numpy as np

    from asymtrack_jax.compilation import keep_compiled
    from asymtrack_jax.tracking.model import load
    from asymtrack_jax.tracking.tracker import Tracker

    keep_compiled()
    done("imports")
    model = load(checkpoint)
    done("checkpoint")
    frame = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    tracker = Tracker(model)
    tracker.init(frame, [580, 300, 120, 120])
    done("init")
    tracker.update(frame)
    done("first update")
    print(json.dumps(parts))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
