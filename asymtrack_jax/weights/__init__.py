"""Trained weights that come with the package; README.md beside this file is their model card."""

from pathlib import Path

TINY = Path(__file__).parent / "tiny"  # a checkpoint's directory
