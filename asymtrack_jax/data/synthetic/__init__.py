"""Rendered video with exact ground truth: data that needs no download.

A scene shows a target, distractors of similar appearance and occluders over a background; they move
and deform, and the camera's pan, exposure and noise change. Scenes vary from easy to hard and are
determined by the seed.
"""

from asymtrack_jax.data.synthetic.render import Clip
from asymtrack_jax.data.synthetic.source import SyntheticSource, read_sequences, render_clip

__all__ = ["Clip", "SyntheticSource", "read_sequences", "render_clip"]
