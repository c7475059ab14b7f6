"""Stage 5 of 5 of the packaged weights: decay of the learning rate to 0.

Trains on 9,600 pairs, from a state of `long.py`.

XLA_FLAGS=--xla_force_host_platform_device_count=2 \
    asymtrack train --config recipes/packaged_weights/ending.py --config.data.roots.prepared=P
"""

import dataclasses
from pathlib import Path

from asymtrack_jax.config import Config
from recipes.packaged_weights.long import get_config as long_run


def get_config() -> Config:
    """Returns the configuration of `long.py` with a cosine schedule over 600 steps."""
    config = long_run()
    return dataclasses.replace(
        config,
        train=dataclasses.replace(
            config.train,
            epochs=3,
            schedule="cosine",
            learning_rate=5e-4,
            warmup_steps=20,
            ema_decay=0.99,
        ),
        run=dataclasses.replace(config.run, init_from=Path("runs/long/last"), validation_epochs=1),
        seed=104,
    )
