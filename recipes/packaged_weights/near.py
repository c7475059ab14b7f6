"""Stage 2 of 10 of the packaged weights: training on pairs with smaller search crops.

Trains on 19,200 pairs, at 27 per second on two cores. The search factor is 3 instead of 4, with a
proportionally smaller crop, so that pairs take less time and targets keep their size in pixels.

asymtrack train --config recipes/packaged_weights/near.py --config.data.roots.prepared=P
"""

from pathlib import Path

from asymtrack_jax.config import Config, override
from recipes.packaged_weights.full import get_config as last_run


def get_config() -> Config:
    """Returns the configuration, which starts from the weights of `backbone.py`."""
    changes = {
        "model.search_size": 192,
        "model.search_factor": 3.0,
        "train.epochs": 6,
        "train.schedule": "step",
        "train.ema_decay": 0.997,
        "data.augmentation.centre_jitter": 1.8,
        "run.init_from": Path("runs/backbone/last"),
    }
    return override(last_run(), changes)
