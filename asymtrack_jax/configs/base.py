"""AsymTrack-B by the paper's recipe: as `tiny`, with AsymTrack-S's blocks and larger crops.

Trains on 30 million pairs, 500 epochs of 60,000. Published success AUC on LaSOT: 64.7; not
reproduced here. Convert the backbone first, then train:

asymtrack convert efficientmod_xxs.pth --backbone --variant base --output backbone
asymtrack train --config base --config.run.init_from=backbone \
    --config.data.roots.lasot=D/LaSOT --config.data.roots.got10k=D/GOT-10k \
    --config.data.roots.coco=D/coco --config.data.roots.trackingnet=D/TrackingNet
"""

from asymtrack_jax.config import VARIANTS, Config


def get_config() -> Config:
    """Returns the configuration, which is the default for this model."""
    return Config(model=VARIANTS["base"])
