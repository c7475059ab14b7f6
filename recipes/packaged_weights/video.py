"""Stage 7 of 10 of the packaged weights: videos that `label_video.py` labelled.

It starts from the mean of the four ends of `cycle.py` (see `average.py`). The learning rate is
constant, so that the run may be stopped at any time. Trains on 27 to 45 pairs per second on two
cores.

XLA_FLAGS=--xla_force_host_platform_device_count=2 \
    asymtrack train --config recipes/packaged_weights/video.py --config.data.roots.prepared=P
"""

from pathlib import Path

from asymtrack_jax.config import Config, override
from recipes.packaged_weights.cycle import get_config as cycle

SOURCES = (
    "tracks",
    "debris",
    "drones",
    "stills",
    "stills_derived",
    "video",
    "skateboards",
    "rendered",
)


def get_config() -> Config:
    """Returns the configuration: a third of the pairs are of labelled video."""
    changes = {
        "train.epochs": 60,
        "train.schedule": "step",
        "train.learning_rate": 7e-4,
        "data.sources": tuple(f"prepared/{name}" for name in SOURCES),
        "data.shares": (0.08, 0.01, 0.03, 0.24, 0.03, 0.30, 0.05, 0.26),
        "run.init_from": Path("runs/cycle/last"),
        "run.validation_epochs": 60,
        "seed": 122,
    }
    return override(cycle(), changes)
