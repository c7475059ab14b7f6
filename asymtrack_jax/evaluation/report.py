"""Scores result files by a protocol, and compares trackers on their common sequences."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from asymtrack_jax.data import sequences as data
from asymtrack_jax.errors import InputError, first_ten
from asymtrack_jax.evaluation import protocols, results
from asymtrack_jax.evaluation.benchmarks import Attributes
from asymtrack_jax.evaluation.bootstrap import difference_interval
from asymtrack_jax.evaluation.protocols import Protocol, Scores, overall
from asymtrack_jax.evaluation.published import Published, published
from asymtrack_jax.evaluation.results import ResultFolder

_SHOWN = 10  # missing results that a note names
_FAR = 1_000_000  # pixels; no image is as large


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceScores:
    """Scores of a tracker on a sequence.

    Attributes:
        num_frames: length of the sequence.
        scores: scores by the protocol.
        notes: oddities of the result, although it can be scored.
        tracker_seconds: time of the tracker, without reading images; None if not recorded.
    """

    num_frames: int
    scores: Scores
    notes: Sequence[str]
    tracker_seconds: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class TrackerScores:
    """Scores of a tracker on a dataset.

    Attributes:
        results: the tracker's result files.
        sequences: scores by sequence, of the sequences that all trackers of the report have.
        overall: scores of the dataset.
        attributes: scores by attribute, of the sequences that have it.
        interval: 95 % interval of the difference of the main measure from the best tracker's
            (`bootstrap.difference_interval`); None for the best tracker.
    """

    results: ResultFolder
    sequences: Mapping[str, SequenceScores]
    overall: Scores
    attributes: Mapping[str, Scores]
    interval: tuple[float, float] | None = None

    @property
    def label(self) -> str:
        """Name in tables and plots."""
        return self.results.label

    @property
    def num_frames(self) -> int:
        """Number of frames of the scored sequences."""
        return sum(each.num_frames for each in self.sequences.values())

    @property
    def rate(self) -> float | None:
        """Frames per second of the tracker alone, over the sequences with times."""
        timed = [each for each in self.sequences.values() if each.tracker_seconds]
        seconds = sum(each.tracker_seconds or 0.0 for each in timed)
        return sum(each.num_frames for each in timed) / seconds if timed else None


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """Scores of several trackers on a dataset.

    Attributes:
        dataset: name of the dataset.
        protocol: protocol of the scores.
        trackers: trackers, the best first, on the same sequences.
        num_sequences: number of sequences of the whole dataset.
        attributes: names of the scored sequences by attribute.
        notes: remarks that the numbers need.
        published: published numbers on the whole dataset, in the protocol's measures.
    """

    dataset: str
    protocol: Protocol
    trackers: Sequence[TrackerScores]
    num_sequences: int
    attributes: Mapping[str, Sequence[str]]
    notes: Sequence[str]
    published: Sequence[Published] = ()

    @property
    def names(self) -> list[str]:
        """Names of the scored sequences."""
        return list(self.trackers[0].sequences)

    @property
    def measures(self) -> list[str]:
        """Names of the protocol's measures, the main one first."""
        return list(self.trackers[0].overall.percent)

    def spread(self, name: str) -> float:
        """Returns the range of the trackers' main measures on a sequence."""
        mains = [tracker.sequences[name].scores.main for tracker in self.trackers]
        return max(mains) - min(mains)


def score_results(
    folder: ResultFolder, sequences: Iterable[data.Sequence], protocol: Protocol
) -> dict[str, SequenceScores]:
    """Scores the result files of sequences, by name.

    Sequences without a file are left out.

    Raises:
        InputError: files are damaged, or refused by the protocol: the first ten are named.
    """
    scored: dict[str, SequenceScores] = {}
    problems: list[str] = []
    for sequence in sequences:
        path = folder.find(sequence.name)
        if path is None:
            continue
        try:
            scored[sequence.name] = _score_result(folder, path, sequence, protocol)
        except InputError as error:
            named = str(error) if str(path) in str(error) else f"{path}: {error}"
            problems.append(named)
    if problems:
        raise InputError(
            f"{len(problems)} results in {folder.directory} cannot be scored:{first_ten(problems)}"
        )
    return scored


def _score_result(
    folder: ResultFolder, path: Path, sequence: data.Sequence, protocol: Protocol
) -> SequenceScores:
    size = sequence.size
    if size is None and isinstance(protocol, protocols.Got10k):
        height, width, _ = sequence.frames[0].shape
        size = height, width
    boxes = folder.read(sequence.name)
    scores = protocol.score(boxes, sequence.boxes, sequence.visible, size)
    seconds = results.read_seconds(path)
    total = None if seconds is None else float(seconds.sum())
    return SequenceScores(len(sequence.boxes), scores, _odd(boxes, sequence.boxes), total)


def _odd(boxes: Float[np.ndarray, "M 4"], annotated: Float[np.ndarray, "N 4"]) -> list[str]:
    """Lists oddities of a result that can be scored."""
    odd = []
    if len(boxes) > len(annotated):
        odd.append("longer than their sequence (what is beyond it was left out)")
    if len(boxes) < len(annotated):
        odd.append("shorter than their sequence (missing frames are failures)")
    if np.abs(boxes[:1] - annotated[:1]).max(initial=0) >= 1:  # more than truncation does
        odd.append("with another first box than their sequence (of other data, or see --origin)")
    if np.abs(boxes).max(initial=0) > _FAR:
        odd.append(f"with numbers beyond {_FAR:,} pixels")
    return odd


def compare(
    dataset: str,
    protocol: Protocol,
    folders: Iterable[ResultFolder],
    sequences: Sequence[data.Sequence],
    *,
    num_sequences: int | None = None,
    attributes: Attributes | None = None,
) -> Report:
    """Scores trackers on the sequences that all of them have results for.

    Args:
        dataset: name of the dataset.
        protocol: protocol of the scores.
        folders: results, one folder per tracker.
        sequences: annotated sequences of the dataset.
        num_sequences: number of sequences of the whole dataset, if `sequences` may be fewer.
        attributes: names of sequences by attribute.

    Raises:
        InputError: no sequence has a result of each tracker, or see `score_results`.
    """
    total = max(num_sequences or 0, len(sequences))
    notes = []
    if len(sequences) < total:
        notes.append(f"{dataset} has {total} sequences, of which {len(sequences)} are evaluated")
    scored = {folder: score_results(folder, sequences, protocol) for folder in folders}
    common = [
        each.name for each in sequences if all(each.name in found for found in scored.values())
    ]
    if not common:
        names = ", ".join(str(folder.directory) for folder in scored)
        raise InputError(
            f"no sequence of {dataset} has a result in {'each of ' * (len(scored) > 1)}{names}: "
            f"expected files such as {sequences[0].name}.txt"
        )
    for folder, found in scored.items():
        missing = [each.name for each in sequences if each.name not in found]
        if missing:
            notes.append(
                f"{folder.label} lacks results for {len(missing)} of {len(sequences)} sequences: "
                f"{_some(missing)}"
            )
        odd: dict[str, list[str]] = {}
        for name, each in found.items():
            for what in each.notes:
                odd.setdefault(what, []).append(name)
        notes += [
            f"{folder.label} has {len(names)} results {what}: {_some(names)}"
            for what, names in odd.items()
        ]
    of = {
        name: having
        for name, names in (attributes or {}).items()
        if (having := [each for each in common if each in names])
    }
    trackers = [
        TrackerScores(
            folder,
            {name: found[name] for name in common},
            overall([found[name].scores for name in common]),
            {name: overall([found[each].scores for each in names]) for name, names in of.items()},
        )
        for folder, found in scored.items()
    ]
    trackers.sort(key=lambda tracker: -tracker.overall.main)
    best, *others = trackers
    others = [dataclasses.replace(each, interval=_interval(each, best)) for each in others]
    references = [row for row in published(dataset) if best.overall.percent.keys() & row.percent]
    return Report(dataset, protocol, [best, *others], total, of, notes, references)


def _interval(tracker: TrackerScores, best: TrackerScores) -> tuple[float, float] | None:
    def mains(of: TrackerScores) -> Float[np.ndarray, " sequences"]:
        return np.array([each.scores.main for each in of.sequences.values()])

    weights = np.array([each.scores.weight for each in best.sequences.values()])
    return difference_interval(mains(tracker), mains(best), weights)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def worst(report: Report) -> list[str]:
    """Returns the scored sequences by the best tracker's main measure, the lowest first."""
    scored = report.trackers[0].sequences
    weighed = [name for name in scored if scored[name].scores.weight]
    return sorted(weighed, key=lambda name: scored[name].scores.main)


def ordered(report: Report) -> list[str]:
    """Returns the scored sequences in the order of tables.

    First those on which trackers differ most, or for a single tracker those with the lowest main
    measure; last those without a frame that is counted.
    """
    counted = worst(report)
    if len(report.trackers) > 1:
        counted.sort(key=report.spread, reverse=True)
    return counted + [name for name in report.names if name not in counted]
