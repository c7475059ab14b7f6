"""Training: losses, optimiser, training step, checkpoints, validation and the training loop."""
