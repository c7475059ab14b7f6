"""Writes the files of a network that the backends read."""

import importlib.util
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np

from asymtrack_jax.config import ModelConfig
from asymtrack_jax.configs.loading import load_config
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.checkpoint import Checkpoint
from asymtrack_jax.models.fuse import fuse
from asymtrack_jax.models.shapes import Shape, variable_shapes
from asymtrack_jax.tracking.calibration import read_calibration


def random_variables(config: ModelConfig, seed: int = 0) -> Any:
    """Samples variables of the training form, all of which affect the output.

    Initial values do not: their layer scales are close to zero, which would hide errors.
    """
    draw = np.random.default_rng(seed).standard_normal

    def random(name: str, shape: Shape) -> np.ndarray:
        noise = draw(shape, np.float32)
        if name.endswith("/var"):
            return 0.5 + noise**2
        if len(shape) == 1:
            return 1 + 0.1 * noise if name.endswith(("/scale", "/gamma")) else 0.1 * noise
        gain = 3 if name.endswith("score/kernel") else 1  # moderately peaked score maps
        return gain * noise * (2 / math.prod(shape[:-1])) ** 0.5

    shapes = sorted(variable_shapes(config).items())
    return flax.traverse_util.unflatten_dict({n: random(n, s) for n, s in shapes}, sep="/")


def load_network(source: Path) -> Checkpoint:
    """Reads a checkpoint, or samples random weights for a configuration.

    Args:
        source: directory of a checkpoint, or name or path of a configuration.

    Raises:
        InputError: it is neither, or invalid.
    """
    if source.is_dir():
        return checkpoint.read(source)
    config = load_config(str(source)).model
    return Checkpoint(config, random_variables(config), {"made_by": "benchmark"})


def write(network: Checkpoint, folder: Path, batch_sizes: Iterable[int]) -> None:
    """Writes a checkpoint, ONNX files if `onnx` is installed, and random images."""
    config = network.config
    checkpoint.save(folder / "checkpoint", config, network.variables, network.metadata)
    if importlib.util.find_spec("onnx"):
        from asymtrack_jax.export.onnx import export_onnx

        calibration = read_calibration(network.metadata)
        export_onnx(config, fuse(network.variables), folder / "onnx", calibration)
    draw = np.random.default_rng(0).integers
    for size in batch_sizes:
        template, search = (
            draw(0, 256, (size, side, side, 3), np.uint8)
            for side in (config.template_size, config.search_size)
        )
        np.savez(folder / f"images_{size}.npz", template=template, search=search)
