"""Fifth run of the weights that come with the package: more of everything, for as long as wanted.

It goes on from `full.py`, which was run twice, the second time with `more` data (see the card,
`asymtrack_jax/weights/README.md`). The learning rate is constant, so the run has no length: the
same command resumes it, and `ending.py` makes weights to use of any state of it. On two cores it
sees 5 to 17 pairs per second, depending on what else the machine does; two devices of one thread
each take 13 % less time than one of two.

XLA_FLAGS=--xla_force_host_platform_device_count=2 \
    python train.py --config recipes/packaged_weights/long.py --config.data.roots.prepared=P
"""

import dataclasses
from pathlib import Path

from asymtrack_jax.config import Augmentation, Config
from recipes.packaged_weights.full import get_config as first_run


def get_config() -> Config:
    """AsymTrack-T on all data, with look-alikes and distortions."""
    config = first_run()
    return dataclasses.replace(
        config,
        train=dataclasses.replace(
            config.train, epochs=400, schedule="step", learning_rate=6e-4, warmup_steps=50
        ),
        data=dataclasses.replace(
            config.data,
            sources=(
                "prepared/tracks",
                "prepared/debris",
                "prepared/drones",
                "prepared/stills",
                "prepared/stills_derived",
                "prepared/rendered",
            ),
            shares=(0.30, 0.015, 0.035, 0.32, 0.03, 0.30),
            validation=("prepared/heldout", "prepared/heldout_stills"),
            augmentation=Augmentation(
                centre_jitter=2.5,
                scale_jitter=0.35,
                crop_flip=0.1,
                template_scale_jitter=0.05,
                template_centre_jitter=0.05,
                rotation=3.0,
                shear=0.03,
                occlusion=0.08,
                distractor=0.25,
                colour_jitter=0.15,
                motion_blur=0.1,
                jpeg=0.15,
            ),
        ),
        run=dataclasses.replace(
            config.run,
            init_from=Path("runs/full/last"),
            validation_epochs=3,
            validation_pairs=512,
            tracking_sequences=16,
            picture_steps=400,
        ),
        seed=103,
    )
