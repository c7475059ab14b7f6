"""Stage 9 of 10 of the packaged weights: more labelled video, at a constant learning rate.

Trains on 192,000 pairs, at 45 per second on two cores.

XLA_FLAGS=--xla_force_host_platform_device_count=2 \
    asymtrack train --config recipes/packaged_weights/video_more.py --config.data.roots.prepared=P
"""

from pathlib import Path

from asymtrack_jax.config import Config, override
from recipes.packaged_weights.decay import get_config as decay


def get_config() -> Config:
    """Returns the configuration: 12,000 steps."""
    changes = {
        "train.epochs": 60,
        "train.schedule": "step",
        "train.learning_rate": 6e-4,
        "run.init_from": Path("runs/decay/last"),
        "run.validation_epochs": 60,
        "seed": 124,
    }
    return override(decay(), changes)
