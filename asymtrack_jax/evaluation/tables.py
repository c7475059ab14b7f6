"""A report as text for a terminal, as Markdown, and as JSON for programs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asymtrack_jax.evaluation.bootstrap import METHOD
from asymtrack_jax.evaluation.protocols import MEASURES
from asymtrack_jax.evaluation.published import published
from asymtrack_jax.evaluation.report import Report, ordered, worst
from asymtrack_jax.files import write_atomically

MARKDOWN, JSON = "report.md", "report.json"


def text(report: Report) -> str:
    """Formats the report for a terminal."""
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
    return "\n".join([*lines, *(f"note: {note}" for note in _notes(report))])


def markdown(report: Report, pictures: Mapping[str, str]) -> str:
    """Formats the report as Markdown.

    Args:
        report: the report.
        pictures: file names of pictures in its folder, by title.
    """
    lines = [
        f"# {report.dataset}: {report.protocol.name} protocol",
        "",
        f"{len(report.names)} of {report.num_sequences} sequences, "
        f"{report.trackers[0].num_frames} frames. Percent: {report.protocol.rules}.",
        "",
        *_piped(_overall_rows(report)),
        *(f"\n**Note:** {note}." for note in _notes(report)),
    ]
    for title, name in pictures.items():
        lines += ["", f"![{title}]({name})"]
    title = MEASURES[report.measures[0]]
    labels = [tracker.label for tracker in report.trackers]
    if report.attributes:
        rows = [["attribute", "sequences", *labels]]
        for name, names in report.attributes.items():
            of = [f"{tracker.attributes[name].main:.1f}" for tracker in report.trackers]
            rows.append([name, str(len(names)), *of])
        lines += ["", f"## By attribute: {title}", "", *_piped(rows)]
    several = len(report.trackers) > 1
    rows = [["sequence", "frames", *labels, *["difference"] * several]]
    for name in ordered(report):
        of = [f"{each.sequences[name].scores.main:.1f}" for each in report.trackers]
        frames = report.trackers[0].sequences[name].num_frames
        rows.append([name, str(frames), *of, *[f"{report.spread(name):.1f}"] * several])
    lines += ["", f"## By sequence: {title}", "", *_piped(rows)]
    return "\n".join(lines) + "\n"


def as_json(report: Report) -> dict[str, Any]:
    """Returns all numbers of the report, in percent, as JSON values."""
    return {
        "dataset": report.dataset,
        "protocol": report.protocol.name,
        "rules": report.protocol.rules,
        "sequences": len(report.names),
        "sequences_in_set": report.num_sequences,
        "frames": report.trackers[0].num_frames,
        "notes": _notes(report),
        "trackers": [
            {
                "name": tracker.label,
                "results": str(tracker.results.directory),
                **tracker.overall.percent,
                "difference_interval": tracker.interval,
                "frames_per_second": tracker.rate,
                "attributes": {
                    name: {"sequences": len(report.attributes[name]), **scores.percent}
                    for name, scores in tracker.attributes.items()
                },
                "per_sequence": {
                    name: {
                        "frames": tracker.sequences[name].num_frames,
                        **tracker.sequences[name].scores.percent,
                    }
                    for name in ordered(report)
                },
            }
            for tracker in report.trackers
        ],
        "published": [
            {"name": row.tracker, **row.percent, "source": row.source} for row in report.published
        ],
    }


def write(report: Report, directory: Path, pictures: Mapping[str, str]) -> None:
    """Writes report.json and report.md into an existing folder."""
    content = json.dumps(as_json(report), indent=2) + "\n"
    write_atomically(directory / JSON, content.encode())
    write_atomically(directory / MARKDOWN, markdown(report, pictures).encode())


def published_text(dataset: str) -> str:
    """Formats the published numbers on a benchmark for a terminal; empty if there are none."""
    rows = published(dataset)
    if not rows:
        return ""
    names = [name for name in MEASURES if any(name in row.percent for row in rows)]
    cells = [[row.tracker, *_cells(row.percent, names), row.source] for row in rows]
    table = [["tracker", *(MEASURES[name] for name in names), "source"], *cells]
    return "\n".join(["published, not measured here:", *_aligned(table)])


def _overall_rows(report: Report) -> list[list[str]]:
    several = len(report.trackers) > 1
    names, best = report.measures, report.trackers[0].overall.main
    heading = [MEASURES[name] for name in names]
    rows = [["tracker", *heading, *["difference [95 %]"] * several, "frames/s"]]
    for tracker in report.trackers:
        difference = f"{tracker.overall.main - best:.2f}"
        if tracker.interval is not None:
            difference += " [{:.2f}, {:.2f}]".format(*tracker.interval)
        if tracker is report.trackers[0]:
            difference = "-"
        rate = "-" if tracker.rate is None else f"{tracker.rate:.1f}"
        cells = _cells(tracker.overall.percent, names)
        rows.append([tracker.label, *cells, *[difference] * several, rate])
    for row in report.published:
        cells = _cells(row.percent, names)
        rows.append([f"{row.tracker} (published)", *cells, *["-"] * several, "-"])
    return rows


def _cells(percent: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{percent[name]:.2f}" if name in percent else "-" for name in names]


def _notes(report: Report) -> list[str]:
    """Returns the report's notes, and explanations of its tables."""
    notes = list(report.notes)
    if len(report.trackers) > 1:
        measure = MEASURES[report.measures[0]]
        notes.append(f"difference is that of {measure} to the first tracker; {METHOD}")
    if report.published:
        sources: dict[str, list[str]] = {}
        for row in report.published:
            sources.setdefault(row.source, []).append(row.tracker)
        named = "; ".join(f"{', '.join(names)}: {source}" for source, names in sources.items())
        notes.append(f"published rows are of the whole set and not measured here ({named})")
    return notes


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Aligns columns: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _piped(rows: Sequence[Sequence[str]]) -> list[str]:
    """Formats rows as a Markdown table."""
    heading, *body = [f"| {' | '.join(row)} |" for row in rows]
    rule = "|---" + "|---:" * (len(rows[0]) - 1) + "|"
    return [heading, rule, *body]
