"""Averages the weights of checkpoints, such as the ends of the cycles of `cycle.py`.

python -m recipes.packaged_weights.average runs/cycle/last runs/cycle2/last --output runs/average
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from asymtrack_jax.errors import InputError, run_main
from asymtrack_jax.models import checkpoint
from asymtrack_jax.tracking.calibration import KEY


def average(sources: Sequence[Path], output: Path) -> None:
    """Writes the mean of checkpoints of one network, with the last one's metadata, uncalibrated.

    Raises:
        InputError: a checkpoint cannot be read or is of another network than the first, or the
            output exists.
    """
    loaded = [checkpoint.read(source) for source in sources]
    for source, each in zip(sources, loaded, strict=True):
        if each.config != loaded[0].config:
            raise InputError(f"{source} is of another network than {sources[0]}")
    mean = jax.tree.map(
        lambda *arrays: np.mean(arrays, axis=0, dtype=np.float64).astype(np.float32),
        *(each.variables for each in loaded),
    )
    steps = [each.metadata.get("step") for each in loaded]
    about = {**loaded[-1].metadata, "mean_of_steps": steps}
    about.pop(KEY, None)
    checkpoint.save(output, loaded[0].config, mean, about)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True, help="directory to write")
    args = parser.parse_args(argv)
    average(args.checkpoints, args.output)


if __name__ == "__main__":
    run_main(main)
