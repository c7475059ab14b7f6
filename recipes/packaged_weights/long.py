"""Stage 4 of 10 of the packaged weights: more data and augmentation, of any length.

It starts from the weights of `full.py`, which was run twice, the second time with more data (see
`asymtrack_jax/weights/README.md`). The learning rate is constant, so that the run may be stopped at
any time: the same command resumes it. Trains on 5 to 17 pairs per second on two cores, depending on
other load; two devices of one thread each take 13 % less time than one of two threads.

XLA_FLAGS=--xla_force_host_platform_device_count=2 \
    asymtrack train --config recipes/packaged_weights/long.py --config.data.roots.prepared=P
"""

from pathlib import Path

from asymtrack_jax.config import Augmentation, Config, override
from recipes.packaged_weights.full import get_config as first_run


def get_config() -> Config:
    """Returns the configuration: all data, with distractors and other augmentations."""
    sources = ("tracks", "debris", "drones", "stills", "stills_derived", "rendered")
    changes = {
        "train.epochs": 400,
        "train.schedule": "step",
        "train.learning_rate": 6e-4,
        "train.warmup_steps": 50,
        "data.sources": tuple(f"prepared/{name}" for name in sources),
        "data.shares": (0.30, 0.015, 0.035, 0.32, 0.03, 0.30),
        "data.validation": ("prepared/heldout", "prepared/heldout_stills"),
        "data.augmentation": Augmentation(
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
        "run.init_from": Path("runs/full/last"),
        "run.validation_epochs": 3,
        "run.validation_pairs": 512,
        "run.tracking_sequences": 16,
        "run.picture_steps": 400,
        "seed": 103,
    }
    return override(first_run(), changes)
