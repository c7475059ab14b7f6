"""The smallest complete run, for tests and to check an installation.

Takes a minute, most of it compilation, on rendered sequences; the result is not usable.

asymtrack train --config testing
"""

from asymtrack_jax.config import (
    VARIANTS,
    Config,
    DataConfig,
    RunConfig,
    Synthetic,
    TrainConfig,
)


def get_config() -> Config:
    """Returns a configuration of four epochs of two steps."""
    return Config(
        model=VARIANTS["testing"],
        train=TrainConfig(batch_size=4, epochs=4, pairs_per_epoch=8),
        data=DataConfig(
            sources=("synthetic",),
            shares=(1.0,),
            validation=("synthetic",),
            tracking="synthetic",
            synthetic=Synthetic(num_sequences=4, num_frames=20, height=120, width=160),
            num_workers=0,
        ),
        run=RunConfig(
            checkpoint_steps=2,
            log_steps=1,
            picture_steps=4,
            validation_epochs=2,
            validation_pairs=8,
            tracking_sequences=1,
            tracking_frames=5,
        ),
    )
