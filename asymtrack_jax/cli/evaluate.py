"""Evaluates a tracker on a benchmark, or scores existing results, and reports the standard metrics.

  $ asymtrack evaluate --dataset lasot --data-dir D --checkpoint C --output R
  $ asymtrack evaluate --dataset lasot --data-dir D --results R1 --results NAME=R2
  $ asymtrack evaluate --dataset folder --data-dir D --tracker asymtrack --tracker opencv:mil

The output folder gets boxes/ (one result file per sequence, and a manifest; with --tracker, one
such folder per tracker, TRACKER/boxes/), report.html, which any browser opens, report.md,
report.json and pictures. Finished sequences are skipped, so the same
command resumes after any interruption. The exit status is 1 if a sequence failed, 130 after Ctrl-C.
"""

from collections.abc import Sequence

from asymtrack_jax.cli.arguments import parse
from asymtrack_jax.cli.native import suggest_native_kernels
from asymtrack_jax.evaluation.command import EvaluateOptions, evaluate


def main(arguments: Sequence[str]) -> int:
    """Evaluates the trackers; returns the exit status."""
    options = parse(EvaluateOptions, arguments, "evaluate", __doc__)
    if "asymtrack" in options.tracker or not (options.tracker or options.results):
        suggest_native_kernels()
    return evaluate(options, arguments)
