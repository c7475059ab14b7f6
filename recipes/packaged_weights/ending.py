"""Last run of the weights that come with the package: the learning rate goes down to nothing.

It makes weights to use of a state of `long.py`: 9,600 pairs.

XLA_FLAGS=--xla_force_host_platform_device_count=2 \
    python train.py --config recipes/packaged_weights/ending.py --config.data.roots.prepared=P
"""

import dataclasses
from pathlib import Path

from asymtrack_jax.config import Config
from recipes.packaged_weights.long import get_config as long_run


def get_config() -> Config:
    """What `long.py` trains on, for 600 steps."""
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
