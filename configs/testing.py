"""`configs/testing.py`: the packaged configuration `testing`, from a checkout."""

from asymtrack_jax.configs.testing import get_config as get_config
