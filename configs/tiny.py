"""`configs/tiny.py`: the packaged configuration `tiny`, from a checkout."""

from asymtrack_jax.configs.tiny import get_config as get_config
