"""Exports a checkpoint's init_template and step, with their weights, for other runtimes.

  $ asymtrack export --format onnx --output exported

`onnx` is for ONNX Runtime and edge devices; `stablehlo` is for `jax.export.deserialize` on CPU,
CUDA and TPU. Neither needs this package to run. `tracker.json` beside them describes the crops, the
boxes and the scores.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import jax

from asymtrack_jax.cli.arguments import parse
from asymtrack_jax.errors import InputError
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.fuse import fuse
from asymtrack_jax.tracking.calibration import read_calibration
from asymtrack_jax.tracking.model import Model
from asymtrack_jax.weights import TINY


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Options of `asymtrack export`.

    Attributes:
        output: directory to write.
        format: format of the programs.
        checkpoint: directory of the checkpoint; by default the packaged weights.
        overwrite: replace an output that exists.
    """

    output: Path
    format: Literal["onnx", "stablehlo"]
    checkpoint: Path = TINY
    overwrite: bool = False


def main(arguments: Sequence[str]) -> None:
    """Exports the programs, and prints the files and their sizes."""
    options = parse(ExportOptions, arguments, "export", __doc__)
    if options.output.exists() and not options.overwrite:
        raise InputError(f"{options.output} exists; choose another, or pass --overwrite")
    loaded = checkpoint.read(options.checkpoint)
    config, calibration = loaded.config, read_calibration(loaded.metadata)
    variables = fuse(loaded.variables)
    if options.format == "onnx":
        from asymtrack_jax.export.onnx import export_onnx

        written = export_onnx(config, variables, options.output, calibration)
    else:
        from asymtrack_jax.export.stablehlo import export_stablehlo

        # Otherwise the programs contain the paths of this machine's source files.
        jax.config.update("jax_traceback_in_locations_limit", 0)
        model = Model(config, variables, native=False, calibration=calibration)
        written = export_stablehlo(model, options.output)
    for path in written:
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
