"""Result files scored by a protocol, and what people read of it: tables, JSON and Markdown."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from asymtrack_jax.data import sequences as data
from asymtrack_jax.errors import InputError, first_ten
from asymtrack_jax.evaluation import protocols, results
from asymtrack_jax.evaluation.benchmarks import Attributes
from asymtrack_jax.evaluation.protocols import MEASURES, Protocol, Scores, overall
from asymtrack_jax.evaluation.results import ResultFolder
from asymtrack_jax.files import write_atomically

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
    """

    results: ResultFolder
    sequences: Mapping[str, SequenceScores]
    overall: Scores
    attributes: Mapping[str, Scores]

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
    """

    dataset: str
    protocol: Protocol
    trackers: Sequence[TrackerScores]
    num_sequences: int
    attributes: Mapping[str, Sequence[str]]
    notes: Sequence[str]

    @property
    def names(self) -> list[str]:
        """The scored sequences."""
        return list(self.trackers[0].sequences)


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
    return Report(dataset, protocol, trackers, total, of, notes)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def worst(report: Report) -> list[str]:
    """The scored sequences by the best tracker's main measure, the lowest first."""
    scored = report.trackers[0].sequences
    weighed = [name for name in scored if scored[name].scores.weight]
    return sorted(weighed, key=lambda name: scored[name].scores.main)


def text(report: Report) -> str:
    """The report for a terminal."""
    lines = [
        f"{report.dataset}, {report.protocol.name} protocol, {len(report.names)} of "
        f"{report.num_sequences} sequences, {report.trackers[0].num_frames} frames",
        "",
        *_aligned(_overall_rows(report)),
    ]
    names = worst(report)
    if len(names) > 1:
        scored = report.trackers[0].sequences
        lowest = [f"{name} {scored[name].scores.main:.1f}" for name in names[:5]]
        lines += ["", "lowest: " + ", ".join(lowest)]
    return "\n".join([*lines, *(f"note: {note}" for note in report.notes)])


def markdown(report: Report, pictures: Mapping[str, str]) -> str:
    """The report as Markdown.

    Args:
        report: what it says.
        pictures: file names beside it, by title.
    """
    lines = [
        f"# {report.dataset}: {report.protocol.name} protocol",
        "",
        f"{len(report.names)} of {report.num_sequences} sequences, "
        f"{report.trackers[0].num_frames} frames. Percent: {report.protocol.rules}.",
        "",
        *_piped(_overall_rows(report)),
        *(f"\n**Note:** {note}." for note in report.notes),
    ]
    for title, name in pictures.items():
        lines += ["", f"![{title}]({name})"]
    title = MEASURES[next(iter(report.trackers[0].overall.percent))]
    labels = [tracker.results.label for tracker in report.trackers]
    if report.attributes:
        rows = [["attribute", "sequences", *labels]]
        for name, names in report.attributes.items():
            of = [f"{tracker.attributes[name].main:.1f}" for tracker in report.trackers]
            rows.append([name, str(len(names)), *of])
        lines += ["", f"## By attribute: {title}", "", *_piped(rows)]
    rows = [["sequence", "frames", *labels]]
    for name in report.names:
        of = [f"{each.sequences[name].scores.main:.1f}" for each in report.trackers]
        rows.append([name, str(report.trackers[0].sequences[name].num_frames), *of])
    lines += ["", f"## By sequence: {title}", "", *_piped(rows)]
    return "\n".join(lines) + "\n"


def as_json(report: Report) -> dict[str, Any]:
    """All numbers of the report, in percent; for programs."""
    return {
        "dataset": report.dataset,
        "protocol": report.protocol.name,
        "rules": report.protocol.rules,
        "sequences": len(report.names),
        "sequences_in_set": report.num_sequences,
        "frames": report.trackers[0].num_frames,
        "notes": list(report.notes),
        "trackers": [
            {
                "name": tracker.results.label,
                "results": str(tracker.results.directory),
                **tracker.overall.percent,
                "frames_per_second": tracker.rate,
                "attributes": {
                    name: {"sequences": len(report.attributes[name]), **scores.percent}
                    for name, scores in tracker.attributes.items()
                },
                "per_sequence": {
                    name: {"frames": each.num_frames, **each.scores.percent}
                    for name, each in tracker.sequences.items()
                },
            }
            for tracker in report.trackers
        ],
    }


def write(report: Report, directory: Path, pictures: Mapping[str, str]) -> None:
    """Writes report.json and report.md into a folder that is there."""
    content = json.dumps(as_json(report), indent=2) + "\n"
    write_atomically(directory / "report.json", content.encode())
    write_atomically(directory / "report.md", markdown(report, pictures).encode())


def _overall_rows(report: Report) -> list[list[str]]:
    names = list(report.trackers[0].overall.percent)
    rows = [["tracker", *(MEASURES[name] for name in names), "frames/s"]]
    for tracker in report.trackers:
        scores = [f"{tracker.overall.percent[name]:.2f}" for name in names]
        rate = "-" if tracker.rate is None else f"{tracker.rate:.1f}"
        rows.append([tracker.results.label, *scores, rate])
    return rows


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as columns of equal width: words to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _piped(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows as a Markdown table."""
    heading, *body = [f"| {' | '.join(row)} |" for row in rows]
    rule = "|---" + "|---:" * (len(rows[0]) - 1) + "|"
    return [heading, rule, *body]
