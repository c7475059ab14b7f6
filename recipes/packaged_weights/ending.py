"""Stage 5 of 5 of the packaged weights: decay of the learning rate to 0.

Trains on 9,600 pairs, from a state of `long.py`.

XLA_FLAGS=--xla_force_host_platform_device_count=2 \
    asymtrack train --config recipes/packaged_weights/ending.py --config.data.roots.prepared=P
"""

from pathlib import Path

from asymtrack_jax.config import Config, override
from recipes.packaged_weights.long import get_config as long_run


def get_config() -> Config:
    """Returns the configuration of `long.py` with a cosine schedule over 600 steps."""
    changes = {
        "train.epochs": 3,
        "train.schedule": "cosine",
        "train.learning_rate": 5e-4,
        "train.warmup_steps": 20,
        "train.ema_decay": 0.99,
        "run.init_from": Path("runs/long/last"),
        "run.validation_epochs": 1,
        "seed": 104,
    }
    return override(long_run(), changes)
