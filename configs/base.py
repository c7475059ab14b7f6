"""`configs/base.py`: the packaged configuration `base`, from a checkout."""

from asymtrack_jax.configs.base import get_config as get_config
