"""AsymTrack-B by the paper's recipe: as `tiny`, with AsymTrack-S's blocks and larger crops.

Costs 30 million pairs, 500 epochs of 60,000. Published success AUC on LaSOT: 64.7. It has not been
run here from end to end. Convert the backbone first, then train:

asymtrack convert efficientmod_xxs.pth --backbone --variant base --output backbone
asymtrack train --config base --config.run.init_from=backbone \
    --config.data.roots.lasot=D/LaSOT --config.data.roots.got10k=D/GOT-10k \
    --config.data.roots.coco=D/coco --config.data.roots.trackingnet=D/TrackingNet
"""

from asymtrack_jax.config import VARIANTS, Config


def get_config() -> Config:
    """The defaults are this recipe."""
    return Config(model=VARIANTS["base"])
