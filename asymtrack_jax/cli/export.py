"""Exports a checkpoint's init_template and step, with their weights, for other runtimes.

  $ asymtrack export --format onnx --output exported

`onnx` is for ONNX Runtime and edge devices; `stablehlo` is for `jax.export.deserialize` on CPU,
CUDA and TPU. Neither needs this package to run. `tracker.json` beside them describes the crops, the
boxes and the scores. In `float16` or `int8`, the difference from float32 is measured and printed.
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
        precision: precision of the programs: float16 halves the files and is for GPUs; int8
            quantises the matrix products only. ONNX only; StableHLO is float32.
        checkpoint: directory of the checkpoint; by default the packaged weights.
        overwrite: replace an output that exists.
    """

    output: Path
    format: Literal["onnx", "stablehlo"]
    precision: Literal["float32", "float16", "int8"] = "float32"
    checkpoint: Path = TINY
    overwrite: bool = False


def main(arguments: Sequence[str]) -> None:
    """Exports the programs, and prints the files and their sizes."""
    options = parse(ExportOptions, arguments, "export", __doc__)
    if options.output.exists() and not options.overwrite:
        raise InputError(f"{options.output} exists; choose another, or pass --overwrite")
    if options.format == "stablehlo" and options.precision != "float32":
        raise InputError(f"--precision {options.precision} is for --format onnx alone")
    loaded = checkpoint.read(options.checkpoint)
    config, calibration = loaded.config, read_calibration(loaded.metadata)
    variables = fuse(loaded.variables)
    error = None
    if options.format == "onnx":
        from asymtrack_jax.export.onnx import build_graphs, export_onnx
        from asymtrack_jax.export.precision import precision_error

        written = export_onnx(config, variables, options.output, calibration, options.precision)
        if options.precision != "float32":
            graphs = build_graphs(config, variables, calibration)
            error = precision_error(config, graphs, options.output)
    else:
        from asymtrack_jax.export.stablehlo import export_stablehlo

        # Otherwise the programs contain the paths of this machine's source files.
        jax.config.update("jax_traceback_in_locations_limit", 0)
        model = Model(config, variables, native=False, calibration=calibration)
        written = export_stablehlo(model, options.output)
    for path in written:
        print(f"{path}: {path.stat().st_size:,} bytes")
    if error:
        print(f"{options.precision} {error}")
