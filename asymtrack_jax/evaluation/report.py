"""Result files scored by a protocol: trackers compared on the sequences that all have."""

import dataclasses
import math
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
    """A tracker on a sequence.

    Attributes:
        num_frames: length of the sequence.
        scores: by the protocol.
        notes: what is odd about the result, although it can be scored.
        tracker_seconds: what the tracker took, without reading images; None if not recorded.
    """

    num_frames: int
    scores: Scores
    notes: Sequence[str]
    tracker_seconds: float | None


@dataclasses.dataclass(frozen=True, eq=False)
class TrackerScores:
    """A tracker on a set.

    Attributes:
        results: its files.
        sequences: by name, those that all trackers of the report have.
        overall: of the set.
        attributes: of the sequences that have an attribute.
        interval: 95 % interval of its main measure less that of the best tracker, as
            `bootstrap.difference_interval` gives it; None for the best itself.
    """

    results: ResultFolder
    sequences: Mapping[str, SequenceScores]
    overall: Scores
    attributes: Mapping[str, Scores]
    interval: tuple[float, float] | None = None

    @property
    def label(self) -> str:
        """What tables and plots call it."""
        return self.results.label

    @property
    def num_frames(self) -> int:
        """Frames of the scored sequences."""
        return sum(each.num_frames for each in self.sequences.values())

    @property
    def rate(self) -> float | None:
        """Frames a second of the tracker alone, over the sequences that have times."""
        timed = [each for each in self.sequences.values() if each.tracker_seconds]
        seconds = sum(each.tracker_seconds or 0.0 for each in timed)
        return sum(each.num_frames for each in timed) / seconds if timed else None


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """Trackers on a set, the best first.

    Attributes:
        dataset: its name.
        protocol: what scored them.
        trackers: all on the same sequences.
        num_sequences: of the whole set, scored or not.
        attributes: the scored sequences by attribute.
        notes: what a reader must know of the numbers.
        published: numbers of others on the whole set, in the protocol's measures.
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
        """The scored sequences."""
        return list(self.trackers[0].sequences)

    @property
    def measures(self) -> list[str]:
        """The protocol's measures, the main one first."""
        return list(self.trackers[0].overall.percent)

    def spread(self, name: str) -> float:
        """How far the trackers' main measures on a sequence lie apart."""
        mains = [tracker.sequences[name].scores.main for tracker in self.trackers]
        return max(mains) - min(mains)


def score_results(
    folder: ResultFolder, sequences: Iterable[data.Sequence], protocol: Protocol
) -> dict[str, SequenceScores]:
    """Compares the result files of sequences with their annotations, by name.

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
    """What is odd about a result, although it can be scored."""
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
        dataset: its name.
        protocol: scores them.
        folders: a tracker's results each.
        sequences: of the set.
        num_sequences: of the whole set, if `sequences` may be fewer.
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
    """The scored sequences by the best tracker's main measure, the lowest first."""
    scored = report.trackers[0].sequences
    weighed = [name for name in scored if scored[name].scores.weight]
    return sorted(weighed, key=lambda name: scored[name].scores.main)


def ordered(report: Report) -> list[str]:
    """The scored sequences as tables list them.

    Those come first on which trackers differ most, or of a single tracker those with the lowest
    main measure; last those without a frame that counts.
    """
    if len(report.trackers) == 1:
        lowest = worst(report)
        return lowest + [name for name in report.names if name not in lowest]
    spreads = {name: report.spread(name) for name in report.names}
    return sorted(spreads, key=lambda name: (math.isnan(spreads[name]), -spreads[name]))
