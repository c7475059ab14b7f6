"""The network in Flax, its checkpoints and its inference form."""
