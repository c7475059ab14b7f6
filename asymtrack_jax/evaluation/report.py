"""Result files judged by a protocol, and what is printed of it."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from asymtrack_jax.data.readers.text import read_boxes
from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import protocols, results
from asymtrack_jax.evaluation.runner import Run


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """A sequence's result.

    Attributes:
        name: of the sequence.
        num_frames: length of the sequence.
        curves: shares of its frames over the thresholds.
        tracker_seconds: what the tracker took, without reading images; None if not recorded.
    """

    name: str
    num_frames: int
    curves: protocols.Curves
    tracker_seconds: float | None


def judge(
    directory: Path, sequences: Iterable[Sequence], protocol: protocols.Protocol
) -> list[Judged]:
    """Compares the result files of sequences with their annotations.

    Raises:
        InputError: a file is missing or damaged, or the protocol refuses it.
    """
    judged = []
    for sequence in sequences:
        path = results.boxes_path(directory, sequence.name)
        prediction = read_boxes(path)
        try:
            errors = protocols.frame_errors(prediction, sequence.boxes, sequence.visible, protocol)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        seconds = results.read_seconds(directory, sequence.name)
        judged.append(
            Judged(
                sequence.name,
                len(sequence.frames),
                protocols.curves(errors),
                None if seconds is None else float(seconds.sum()),
            )
        )
    return judged


def render(
    dataset: str, protocol: protocols.Protocol, num_sequences: int, judged: list[Judged], run: Run
) -> str:
    """The table of a run, its overall scores and frame rates, and what went wrong, as text.

    Args:
        dataset: its name.
        protocol: what judged it.
        num_sequences: sequences of the data set; those not judged are said to be missing.
        judged: the sequences that have a result.
        run: what came of the run.
    """
    lines = [f"{dataset}: {len(judged)} of {num_sequences} sequences have a result"]
    if judged:
        lines = [*_table(judged), *lines, _overall(protocol, judged)]
        lines.append(f"frames/s: {_rate(judged)} the tracker alone")
    if run.frames:
        lines[-1] += f", {run.frames / run.wall_seconds:.1f} with images read and results written"
    lines.append(f"{run.finished} sequences finished now, {run.skipped} before")
    lines += [f"failed: {name}: {reason}" for name, reason in run.failures.items()]
    if run.interrupted:
        lines.append("interrupted: the same command carries on from here")
    return "\n".join(lines)


def _table(judged: list[Judged]) -> list[str]:
    width = max(len("sequence"), *(len(each.name) for each in judged))
    lines = [f"{'sequence':{width}}  frames  success AUC  precision  norm. precision  frames/s"]
    for each in judged:
        scores = protocols.scores(each.curves)
        lines.append(
            f"{each.name:{width}}  {each.num_frames:6}  {scores.success_auc:11.2f}"
            f"  {scores.precision:9.2f}  {scores.norm_precision:15.2f}  {_rate([each]):>8}"
        )
    return lines


def _overall(protocol: protocols.Protocol, judged: list[Judged]) -> str:
    scores = protocols.scores(protocols.mean_curves([each.curves for each in judged]))
    return (
        f"{protocol.name} protocol: success AUC {scores.success_auc:.2f}, precision "
        f"{scores.precision:.2f}, normalised precision {scores.norm_precision:.2f}"
    )


def _rate(judged: list[Judged]) -> str:
    timed = [(each.num_frames, each.tracker_seconds) for each in judged if each.tracker_seconds]
    if not timed:
        return "-"
    frames, seconds = map(sum, zip(*timed, strict=True))
    return f"{frames / seconds:.1f}"
