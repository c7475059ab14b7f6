"""A network for all contestants: `python -m asymtrack_jax.benchmark.network CONFIG FOLDER`."""

import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np
import safetensors.numpy

from asymtrack_jax.config import ModelConfig
from asymtrack_jax.config_files import load_config
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.asymtrack import abstract_variables
from asymtrack_jax.models.fuse import fuse

CHECKPOINT = "checkpoint"
FUSED = "fused.safetensors"
ONNX = "onnx"


def random_variables(config: ModelConfig, seed: int = 0) -> Any:
    """Variables of the training form, every one of them of some effect.

    Those that training starts from hide most of the network behind layer scales close to nothing,
    and so would hide a fault of a contestant.
    """
    draw = np.random.default_rng(seed).standard_normal

    def random(path: Any, leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        noise = draw(leaf.shape, np.float32)
        if name.endswith("/var"):
            return 0.5 + noise**2
        if leaf.ndim == 1:
            return 1 + 0.1 * noise if name.endswith(("/scale", "/gamma")) else 0.1 * noise
        gain = 3 if name.endswith("score/kernel") else 1  # corners stand out a little
        return gain * noise * (2 / math.prod(leaf.shape[:-1])) ** 0.5

    return jax.tree_util.tree_map_with_path(random, abstract_variables(config))


def write(config: ModelConfig, folder: Path) -> None:
    """Writes a checkpoint, the fused form's arrays by path, and ONNX files if `onnx` is there."""
    variables = random_variables(config)
    checkpoint.save(folder / CHECKPOINT, config, variables, {"made_by": "benchmark"})
    fused = fuse(variables)
    flat: Any = flax.traverse_util.flatten_dict(fused, sep="/")
    safetensors.numpy.save_file(flat, folder / FUSED)
    if importlib.util.find_spec("onnx"):
        from asymtrack_jax.export.onnx import export_onnx

        export_onnx(config, fused, folder / ONNX)


if __name__ == "__main__":
    write(load_config(Path(sys.argv[1])).model, Path(sys.argv[2]))
