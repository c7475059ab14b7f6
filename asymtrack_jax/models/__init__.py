"""The network, in Flax."""
