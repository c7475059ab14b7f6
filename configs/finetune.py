"""`configs/finetune.py`: the packaged configuration `finetune`, from a checkout."""

from asymtrack_jax.configs.finetune import get_config as get_config
