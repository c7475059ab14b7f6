"""Stage 3 of 10 of the packaged weights: AsymTrack-T at its own crop sizes.

Trains on 35,200 pairs, at 15 to 19 per second on two cores. `asymtrack_jax/weights/README.md`
describes the data, the preparation of the crops in the folder P, and the results.

asymtrack train --config recipes/packaged_weights/full.py --config.data.roots.prepared=P
"""

from pathlib import Path

from asymtrack_jax.config import Augmentation, Config, DataConfig, RunConfig, TrainConfig


def get_config() -> Config:
    """Returns the configuration, with the first stage frozen, from the weights of `near.py`."""
    return Config(
        train=TrainConfig(
            batch_size=16,
            epochs=11,
            pairs_per_epoch=3_200,
            corner_weight=0.5,
            learning_rate=1e-3,
            backbone_multiplier=0.15,
            coupling_multiplier=1.0,
            frozen_stages=1,
            weight_decay=1e-3,
            clip_norm=1.0,
            warmup_steps=100,
            schedule="cosine",
            ema_decay=0.998,
        ),
        data=DataConfig(
            sources=("prepared/tracks", "prepared/debris", "prepared/stills", "prepared/rendered"),
            shares=(0.3, 0.05, 0.35, 0.3),
            validation=("prepared/heldout",),
            tracking="prepared/heldout",
            max_gap=48,
            augmentation=Augmentation(centre_jitter=2.5, scale_jitter=0.35, crop_flip=0.1),
            num_workers=0,
        ),
        run=RunConfig(
            init_from=Path("runs/near/last"),
            checkpoint_steps=200,
            log_steps=20,
            picture_steps=200,
            validation_epochs=1,
            validation_pairs=256,
            tracking_sequences=6,
            tracking_frames=48,
        ),
    )
