"""Stage 5 of 10 of the packaged weights: `long.py` with stronger augmentation.

Wider centre jitter, more distractors, and crops of low resolution, as of small targets. Trained on
38,880 pairs, at 6 to 15 per second on two cores with other load; it may be stopped at any time.

XLA_FLAGS=--xla_force_host_platform_device_count=2 \
    asymtrack train --config recipes/packaged_weights/longer.py --config.data.roots.prepared=P
"""

from pathlib import Path

from asymtrack_jax.config import Config, override
from recipes.packaged_weights.long import get_config as long_run


def get_config() -> Config:
    """Returns the configuration, which starts from the weights of `long.py`."""
    changes = {
        "train.epochs": 4000,
        "data.shares": (0.30, 0.015, 0.045, 0.31, 0.03, 0.30),
        "data.augmentation.centre_jitter": 3.0,
        "data.augmentation.distractor": 0.35,
        "data.augmentation.low_resolution": 0.25,
        "run.init_from": Path("runs/long/last"),
        "run.validation_epochs": 5,
        "run.picture_steps": 500,
        "seed": 105,
    }
    return override(long_run(), changes)
