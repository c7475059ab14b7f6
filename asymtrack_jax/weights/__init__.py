"""Weights in the package, and their model card, README.md."""

from pathlib import Path

TINY = Path(__file__).parent / "tiny"  # directory of the checkpoint
