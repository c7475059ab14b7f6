"""Training: losses, the optimiser, and the step that puts them to work on a batch."""
