"""AsymTrack-S by the paper's recipe: as `tiny`, with two more blocks and one learning rate for all.

Trains on 30 million pairs, 500 epochs of 60,000. Published success AUC on LaSOT: 62.8; not
reproduced here. Convert the backbone first, then train:

asymtrack convert efficientmod_xxs.pth --backbone --variant small --output backbone
asymtrack train --config small --config.run.init_from=backbone \
    --config.data.roots.lasot=D/LaSOT --config.data.roots.got10k=D/GOT-10k \
    --config.data.roots.coco=D/coco --config.data.roots.trackingnet=D/TrackingNet
"""

from asymtrack_jax.config import VARIANTS, Config, TrainConfig


def get_config() -> Config:
    """Returns the configuration: the backbone has the learning rate of neck and head."""
    return Config(model=VARIANTS["small"], train=TrainConfig(backbone_multiplier=1.0))
