"""`python -m asymtrack_jax.tracking.export`: a checkpoint as programs for other runtimes."""

import argparse
import importlib.util
from collections.abc import Sequence
from pathlib import Path

import jax

from asymtrack_jax.errors import InputError, run_main
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.fuse import fuse
from asymtrack_jax.tracking.calibration import of_checkpoint
from asymtrack_jax.tracking.model import Model
from asymtrack_jax.weights import TINY

NEEDED = {"stablehlo": "flatbuffers", "onnx": "onnx"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, exports, and says what was written."""
    parser = argparse.ArgumentParser(
        prog="python -m asymtrack_jax.tracking.export",
        description="Writes a checkpoint's init_template and step, weights inside, as programs "
        "that run without this package: stablehlo for jax.export.deserialize on CPU, CUDA and "
        "TPU, onnx for ONNX Runtime and edge devices.",
    )
    checkpoint_help = "its directory; default: the weights in the package"
    parser.add_argument("--checkpoint", type=Path, default=TINY, help=checkpoint_help)
    parser.add_argument("--output", type=Path, required=True, help="directory to write")
    parser.add_argument("--format", choices=NEEDED, required=True)
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    args = parser.parse_args(arguments)
    if args.output.exists() and not args.overwrite:
        raise InputError(f"{args.output} exists; choose another, or pass --overwrite")
    if importlib.util.find_spec(NEEDED[args.format]) is None:
        raise InputError(
            f"--format {args.format} needs the package {NEEDED[args.format]}: "
            f"pip install 'asymtrack-jax[{args.format}]'"
        )
    loaded = checkpoint.read(args.checkpoint)
    variables, calibration = fuse(loaded.variables), of_checkpoint(loaded.metadata)
    if args.format == "onnx":
        from asymtrack_jax.tracking.export.onnx import export_onnx

        written = export_onnx(loaded.config, variables, args.output, calibration)
    else:
        from asymtrack_jax.tracking.export.stablehlo import export_stablehlo

        # Otherwise the programs name the files, on this machine, that they were traced from.
        jax.config.update("jax_traceback_in_locations_limit", 0)
        model = Model(loaded.config, variables, native=False, calibration=calibration)
        written = export_stablehlo(model, args.output)
    for path in written:
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    run_main(main)
