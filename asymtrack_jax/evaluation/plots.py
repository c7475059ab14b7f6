"""Plots of a report: curves over thresholds, scores by attribute, overlap by score.

Needs matplotlib, which the extra [eval] installs; nothing else of this package's evaluation does.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from asymtrack_jax.data import sequences as data
from asymtrack_jax.evaluation.colours import COLOURS
from asymtrack_jax.evaluation.protocols import MEASURES
from asymtrack_jax.evaluation.reliability import ScoredFrames, collect
from asymtrack_jax.evaluation.report import Report
from asymtrack_jax.files import write_atomically

_DASHES = ("-", "--", "-.", ":")
_AXES = {
    "success": ("Success", "overlap threshold"),
    "precision": ("Precision", "centre error threshold (pixels)"),
    "norm_precision": ("Normalised precision", "normalised centre error threshold"),
}
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": "#888888",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
}


def write_plots(report: Report, directory: Path) -> dict[str, str]:
    """Plots each curve of the protocol and, if the set has them, the scores by attribute.

    Returns:
        The pictures (PNG; a PDF of the same name lies beside each), by title.
    """
    pictures = {}
    with mpl.rc_context(_STYLE):
        for curve in report.protocol.thresholds:
            title = f"{_AXES[curve][0]} plot"
            pictures[title] = _save(_curves(report, curve), directory, curve)
        if report.attributes:
            pictures["By attribute"] = _save(_attributes(report), directory, "attributes")
    return pictures


def _curves(report: Report, curve: str) -> Figure:
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    title, label = _AXES[curve]
    thresholds = report.protocol.thresholds[curve]
    names = list(report.trackers[0].overall.percent)
    score = names[0] if curve == "success" else curve
    ranked = sorted(report.trackers, key=lambda each: -each.overall.percent[score])
    for index, tracker in enumerate(ranked):
        place = report.trackers.index(tracker)  # a tracker's colour is the same in all plots
        axes.plot(
            thresholds,
            100 * tracker.overall.curves[curve],
            color=COLOURS[place % len(COLOURS)],
            linestyle=_DASHES[place // len(COLOURS) % len(_DASHES)],
            linewidth=2.0,
            label=f"{tracker.label}  [{tracker.overall.percent[score]:.1f}]",
            zorder=3 + len(ranked) - index,
        )
    axes.set(
        xlim=(thresholds[0], thresholds[-1]),
        ylim=(0, 102),
        xlabel=label[0].upper() + label[1:],
        ylabel="Frames (%)",
        title=f"{title}: {report.dataset}",
    )
    axes.legend(
        loc="best",
        title=f"{MEASURES[score]}, {report.protocol.name} protocol",
        alignment="left",
        fontsize=9 if len(ranked) <= 8 else 7,
    ).set_zorder(99)
    return figure


def _attributes(report: Report) -> Figure:
    """Plots one row per attribute and one dot per tracker, the hardest attribute at the bottom.

    The dots of a row lie one below the other, so that none hides another.
    """
    best = report.trackers[0]
    names = sorted(report.attributes, key=lambda name: best.attributes[name].main)
    count = len(report.trackers)
    height = 0.32 + 0.07 * (count - 1)  # inches of a row
    figure = Figure(figsize=(6.4, 1.3 + height * len(names)), layout="constrained")
    axes = figure.add_subplot()
    rows = np.arange(len(names))
    values = np.array([[each.attributes[name].main for name in names] for each in report.trackers])
    offsets = np.linspace(0.3, -0.3, count) if count > 1 else np.zeros(1)
    if count == 1:
        axes.hlines(rows, 0, values[0], color="#cfcfcf", linewidth=3, zorder=2)
    for row in rows[::2] if count > 1 else ():
        axes.axhspan(row - 0.5, row + 0.5, color="#f3f3f3", zorder=0)
    for index, tracker in enumerate(report.trackers):
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(values[index], rows + offsets[index], "o", color=colour, markersize=6, zorder=9)
        axes.plot([], [], "o", color=colour, label=tracker.label)
        axes.axvline(tracker.overall.main, color=colour, linewidth=1, linestyle=":")
    if count == 1:
        for row, value in zip(rows, values[0], strict=True):
            axes.annotate(
                f"{value:.1f}", (value, row), (8, 0), textcoords="offset points", va="center"
            )
    score = MEASURES[next(iter(best.overall.percent))]
    labels = [f"{name} ({len(report.attributes[name])})" for name in names]
    axes.set_yticks(rows, labels)
    axes.grid(axis="y", visible=False)
    axes.set(
        xlabel=f"{score} (%); dotted: all sequences",
        title=f"By attribute: {report.dataset}",
        xlim=(0, 100) if count == 1 else None,
        ylim=(-0.7, len(names) - 0.3),
    )
    if count > 1:
        figure.legend(loc="outside lower center", ncols=min(4, len(report.trackers)))
    return figure


def _save(figure: Figure, directory: Path, name: str) -> str:
    FigureCanvasAgg(figure)
    for kind, metadata in (("png", {"Software": None}), ("pdf", {"CreationDate": None})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=160, metadata=metadata)
        write_atomically(directory / f"{name}.{kind}", buffer.getvalue())
    return f"{name}.png"


def write_reliability(
    report: Report, sequences: Sequence[data.Sequence], directory: Path
) -> dict[str, str]:
    """Plots the mean overlap by score, of those trackers of the report that wrote scores.

    Returns:
        The picture, by title; nothing if there are no scores.

    Raises:
        InputError: scores are damaged.
    """
    common = [sequence for sequence in sequences if sequence.name in report.names]
    frames = {each.label: collect(each.results, common) for each in report.trackers}
    frames = {label: found for label, found in frames.items() if len(found.scores)}
    if not frames:
        return {}
    with mpl.rc_context(_STYLE):
        title = "Overlap by score"
        return {
            title: _save(_reliability(f"{title}: {report.dataset}", frames), directory, "score")
        }


def _reliability(title: str, frames: Mapping[str, ScoredFrames]) -> Figure:
    """Plots mean IoU over mean score per bin; the area of a dot is its share of the frames."""
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(
        [0, 1], [0, 1], color="#888888", linewidth=1, linestyle=":", label="perfect calibration"
    )
    for index, (label, found) in enumerate(frames.items()):
        colour = COLOURS[index % len(COLOURS)]
        parts = [part for part in found.binned() if len(part.scores)]
        mean = [(part.scores.mean(), part.overlaps.mean()) for part in parts]
        shares = np.array([len(part.scores) / len(found.scores) for part in parts])
        said, so = np.array(mean).T
        axes.plot(said, so, color=colour, linewidth=2)
        axes.scatter(said, so, 20 + 600 * shares, color=colour, zorder=3)
        axes.plot([], [], "o-", color=colour, label=f"{label}  [{found.error():.3f}]")
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="Mean score", ylabel="Mean IoU", title=title)
    axes.legend(loc="upper left", title="Calibration error", alignment="left")
    return figure
