"""Stage 10 of 10 of the packaged weights: cosine decay to the end.

Trains on 96,000 pairs, at 34 per second on two cores.

XLA_FLAGS=--xla_force_host_platform_device_count=2 \
    asymtrack train --config recipes/packaged_weights/decay_more.py --config.data.roots.prepared=P
"""

from pathlib import Path

from asymtrack_jax.config import Config, override
from recipes.packaged_weights.video_more import get_config as video_more


def get_config() -> Config:
    """Returns the configuration: decay over 6,000 steps."""
    changes = {
        "train.epochs": 30,
        "train.schedule": "cosine",
        "train.learning_rate": 7e-4,
        "run.init_from": Path("runs/video_more/last"),
        "run.validation_epochs": 30,
        "seed": 125,
    }
    return override(video_more(), changes)
