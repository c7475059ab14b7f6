"""Published PyTorch checkpoints to checkpoints of this project, and back."""
