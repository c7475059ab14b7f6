"""Published PyTorch checkpoints, in and out; PyTorch is not needed."""
