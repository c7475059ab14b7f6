"""`configs/synthetic.py`: the packaged configuration `synthetic`, from a checkout."""

from asymtrack_jax.configs.synthetic import get_config as get_config
