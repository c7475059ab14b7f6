"""Stage 6 of 10 of the packaged weights: cycles of cosine decay.

Run several times, each from the end of the one before (`--config.run.init_from`) and with another
seed: 4 epochs with a backbone multiplier of 0.3, then 8 and 7 epochs (of 3,200 pairs) with 0.5.
Trains on 15 to 41 pairs per second on two cores.

XLA_FLAGS=--xla_force_host_platform_device_count=2 \
    asymtrack train --config recipes/packaged_weights/cycle.py --config.data.roots.prepared=P
"""

from pathlib import Path

from asymtrack_jax.config import Config, override
from recipes.packaged_weights.longer import get_config as long_run


def get_config() -> Config:
    """Returns the configuration: decay over 1,400 steps, with a backbone that learns faster."""
    changes = {
        "train.epochs": 7,
        "train.schedule": "cosine",
        "train.warmup_steps": 20,
        "train.ema_decay": 0.99,
        "train.backbone_multiplier": 0.5,
        "data.augmentation.centre_jitter": 2.5,
        "data.augmentation.distractor": 0.25,
        "data.augmentation.low_resolution": 0.15,
        "run.init_from": Path("runs/longer/last"),
        "run.validation_epochs": 7,
        "seed": 108,
    }
    return override(long_run(), changes)
