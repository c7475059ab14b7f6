r"""Stage 1 of 10 of the packaged weights: feature distillation of the backbone from NanoTrack's.

Takes some 20 minutes on two cores that were also used otherwise. The schedule has 2,000 steps; the
run was stopped after 1,000, that is, 8,000 pairs or 40,000 images of 128 x 128 pixels, when it
explained three quarters of the features' variance. `near.py` is next.

python -m recipes.packaged_weights.distill nanotrack_backbone.onnx \
    --config recipes/packaged_weights/backbone.py --config.data.roots.prepared=P

The teacher is NanoTrack v3's published `nanotrack_backbone.onnx`.
"""

from asymtrack_jax.config import Augmentation, Config, override
from recipes.packaged_weights.full import get_config as last_run


def get_config() -> Config:
    """Returns the configuration: AsymTrack-T from scratch, at a higher learning rate."""
    changes = {
        "train.batch_size": 8,
        "train.epochs": 1,
        "train.pairs_per_epoch": 16_000,
        "train.learning_rate": 2e-3,
        "train.backbone_multiplier": 1.0,
        "train.coupling_multiplier": None,
        "train.frozen_stages": 0,
        "train.layer_scale": 0.3,
        "train.ema_decay": 0.99,
        "data.shares": (0.3, 0.05, 0.4, 0.25),
        "data.augmentation": Augmentation(centre_jitter=2.5, scale_jitter=0.4, brightness=0.3),
        "run.init_from": None,
        "run.checkpoint_steps": 500,
    }
    return override(last_run(), changes)
