"""Conversion from and to published PyTorch checkpoints, without PyTorch."""
