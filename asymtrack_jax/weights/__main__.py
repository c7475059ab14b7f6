"""Exports a checkpoint as the package's weights, in float16.

The metadata is kept; the precision and the SHA-256 of the original file are added.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np

from asymtrack_jax.errors import InputError, run_main
from asymtrack_jax.models import checkpoint

MAX_BYTES = 8 * 2**20


def export_packaged_weights(source: Path, output: Path, *, overwrite: bool = False) -> str:
    """Writes a checkpoint in float16, and returns a summary as text.

    Args:
        source: directory of the checkpoint, such as a training run's `best`.
        output: directory to write.
        overwrite: replace the checkpoint in a directory that exists.

    Raises:
        InputError: there is no checkpoint, a value is beyond float16's range, the result is larger
            than `MAX_BYTES`, or the output exists.
    """
    loaded = checkpoint.read(source)
    arrays: Any = flax.traverse_util.flatten_dict(loaded.variables, sep="/")
    with np.errstate(over="ignore"):  # reported below
        halves = {name: array.astype(np.float16) for name, array in arrays.items()}
    if beyond := sorted(name for name, half in halves.items() if not np.isfinite(half).all()):
        raise InputError(f"{source} has values beyond float16's range, in {', '.join(beyond)}")
    num_bytes = sum(half.nbytes for half in halves.values())
    if num_bytes > MAX_BYTES:
        raise InputError(
            f"{source} takes {num_bytes / 2**20:.1f} MiB in float16, "
            f"more than the package's limit of {MAX_BYTES // 2**20}: choose a smaller network"
        )
    rounding = {"precision": "float16", "rounded_from_sha256": checkpoint.sha256(source)}
    metadata = {**loaded.metadata, **rounding}
    variables = flax.traverse_util.unflatten_dict(halves, sep="/")
    path = checkpoint.save(output, loaded.config, variables, metadata, overwrite=overwrite)
    changes = {name: _change(array, halves[name]) for name, array in arrays.items()}
    largest = max(changes, key=changes.__getitem__)
    vanished = sum(
        np.count_nonzero(arrays[name]) - np.count_nonzero(halves[name]) for name in arrays
    )
    return (
        f"{path}: {path.stat().st_size / 2**20:.2f} MiB; rounding changes values by at most "
        f"{changes[largest]:.1e} of their tensor's maximum ({largest}), {vanished} to zero"
    )


def _change(array: np.ndarray, half: np.ndarray) -> float:
    """Returns the largest difference over the largest absolute value; 0 for a tensor of zeros."""
    scale = np.abs(array).max()
    return float(np.abs(half.astype(np.float32) - array).max() / scale) if scale else 0.0


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m asymtrack_jax.weights", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="directory, such as a training run's best/")
    parser.add_argument("--output", type=Path, required=True, help="directory to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    args = parser.parse_args(argv)
    print(export_packaged_weights(args.checkpoint, args.output, overwrite=args.overwrite))


if __name__ == "__main__":
    run_main(main)
