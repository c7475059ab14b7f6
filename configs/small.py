"""`configs/small.py`: the packaged configuration `small`, from a checkout."""

from asymtrack_jax.configs.small import get_config as get_config
