"""Rendered video with exact ground truth: data that needs no download.

A scene shows a target and other things, some of the same look and some that pass before it, over a
backdrop; they move and deform, and camera, light and noise change. Everything follows from the
seed, from easy scenes to hard ones.
"""

from asymtrack_jax.data.synthetic.render import Clip
from asymtrack_jax.data.synthetic.source import SyntheticSource, read_sequences, render_clip

__all__ = ["Clip", "SyntheticSource", "read_sequences", "render_clip"]
