"""Second run of the weights that come with the package: pairs, in the near surroundings.

Costs 19,200 pairs at 27 a second on two cores: the search crop is three times as large as the
target instead of four, so that a pair takes less time and the target has its usual size.

asymtrack train --config recipes/packaged_weights/near.py --config.data.roots.prepared=P
"""

import dataclasses
from pathlib import Path

from asymtrack_jax.config import Config
from recipes.packaged_weights.full import get_config as last_run


def get_config() -> Config:
    """Goes on from what `backbone.py` left; `full.py` goes on from this."""
    config = last_run()
    augmentation = dataclasses.replace(config.data.augmentation, centre_jitter=1.8)
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, search_size=192, search_factor=3.0),
        train=dataclasses.replace(config.train, epochs=6, schedule="step", ema_decay=0.997),
        data=dataclasses.replace(config.data, augmentation=augmentation),
        run=dataclasses.replace(config.run, init_from=Path("runs/backbone/last")),
    )
