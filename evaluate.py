"""Runs a tracker over a benchmark, or scores results that are there, and reports what papers print.

python evaluate.py --dataset lasot --data-dir D --checkpoint C --output R
python evaluate.py --dataset lasot --data-dir D --results R1 --results R2

The output folder gets boxes/ (a result file a sequence, and a manifest), report.md, report.json and
pictures. Sequences that are finished there are skipped, so that the same command carries on after
any interruption. The exit status is 1 if a sequence failed, 130 after Ctrl-C.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from asymtrack_jax.compilation import keep_compiled
from asymtrack_jax.errors import run_main
from asymtrack_jax.evaluation.benchmarks import BENCHMARKS, DATA_VARIABLE
from asymtrack_jax.evaluation.command import Options, evaluate
from asymtrack_jax.evaluation.protocols import PROTOCOLS
from asymtrack_jax.weights import TINY


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluates as the command line says; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def add(name: str, help: str, **settings) -> None:
        spellings = dict.fromkeys([f"--{name}", f"--{name.replace('-', '_')}"])
        parser.add_argument(*spellings, help=help, **settings)

    add("dataset", "default: rendered clips", choices=BENCHMARKS, default="synthetic")
    add("data-dir", f"its folder; default: a folder in ${DATA_VARIABLE}", type=Path)
    checkpoint = "its directory; default: the weights in the package"
    add("checkpoint", checkpoint, type=Path, default=TINY)
    results = "score this folder of result files instead of tracking; may be repeated"
    add("results", results, type=Path, action="append", default=[])
    origin = "what the top-left pixel is in result files; default: as the field's, 1 for otb100"
    add("origin", origin, type=int, choices=(0, 1))
    recover = "when the score stays low, search wider; not what benchmarks ask for"
    add("recover", recover, action="store_true")
    add("output", "default: results/DATASET", type=_output)
    add("protocol", "default: the data set's own", choices=PROTOCOLS)
    floats = "write boxes as floats; by default they are truncated to integers, as published"
    add("float-results", floats, action="store_true")
    add("batch-size", "sequences that share a step", type=int, default=1, metavar="B")
    add("workers", "threads that read images", type=int, default=2, metavar="N")
    add("shard", "do the I-th of N shares, such as 1/4", default="1/1", metavar="I/N")
    return evaluate(Options(**vars(parser.parse_args(arguments))), arguments)


def _output(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("is empty; name a folder, or . for this one")
    return Path(text)


if __name__ == "__main__":
    keep_compiled()
    run_main(main)
