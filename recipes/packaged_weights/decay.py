"""Stage 8 of 10 of the packaged weights: more labelled video, and cosine decay.

Trains on 76,800 pairs, at 21 to 41 per second on two cores.

XLA_FLAGS=--xla_force_host_platform_device_count=2 \
    asymtrack train --config recipes/packaged_weights/decay.py --config.data.roots.prepared=P
"""

from pathlib import Path

from asymtrack_jax.config import Config, override
from recipes.packaged_weights.video import get_config as video


def get_config() -> Config:
    """Returns the configuration: decay over 4,800 steps."""
    changes = {
        "train.epochs": 24,
        "train.schedule": "cosine",
        "data.shares": (0.08, 0.01, 0.03, 0.22, 0.03, 0.33, 0.04, 0.26),
        "run.init_from": Path("runs/video/last"),
        "run.validation_epochs": 24,
        "seed": 123,
    }
    return override(video(), changes)
