"""Stage 2 of 5 of the packaged weights: training on pairs with smaller search crops.

Trains on 19,200 pairs, at 27 per second on two cores. The search factor is 3 instead of 4, with a
proportionally smaller crop, so that pairs take less time and targets keep their size in pixels.

asymtrack train --config recipes/packaged_weights/near.py --config.data.roots.prepared=P
"""

import dataclasses
from pathlib import Path

from asymtrack_jax.config import Config
from recipes.packaged_weights.full import get_config as last_run


def get_config() -> Config:
    """Returns the configuration, which starts from the weights of `backbone.py`."""
    config = last_run()
    augmentation = dataclasses.replace(config.data.augmentation, centre_jitter=1.8)
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, search_size=192, search_factor=3.0),
        train=dataclasses.replace(config.train, epochs=6, schedule="step", ema_decay=0.997),
        data=dataclasses.replace(config.data, augmentation=augmentation),
        run=dataclasses.replace(config.run, init_from=Path("runs/backbone/last")),
    )
