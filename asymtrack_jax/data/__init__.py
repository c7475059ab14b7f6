"""Annotated videos, on disk or rendered, and training pairs made from them; without jax."""
