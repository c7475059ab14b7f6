"""What people look at: curves over thresholds, scores by attribute, the worst sequences."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from asymtrack_jax import boxes
from asymtrack_jax.data import sequences as data
from asymtrack_jax.evaluation.protocols import MEASURES
from asymtrack_jax.evaluation.reliability import ScoredFrames, collect
from asymtrack_jax.evaluation.report import Report, worst
from asymtrack_jax.files import write_atomically
from asymtrack_jax.video import drawing

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6f4e9c", "#555555")
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
            color=_COLOURS[place % len(_COLOURS)],
            linestyle=_DASHES[place // len(_COLOURS) % len(_DASHES)],
            linewidth=2.0,
            label=f"{tracker.results.label}  [{tracker.overall.percent[score]:.1f}]",
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
    """A row per attribute, a dot per tracker; the hardest attribute at the bottom."""
    best = report.trackers[0]
    names = sorted(report.attributes, key=lambda name: best.attributes[name].main)
    figure = Figure(figsize=(6.4, 1.3 + 0.32 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    rows = np.arange(len(names))
    values = np.array([[each.attributes[name].main for name in names] for each in report.trackers])
    low = 0.0 if len(report.trackers) == 1 else None
    axes.hlines(
        rows,
        values.min(axis=0) if low is None else low,
        values.max(axis=0),
        color="#cfcfcf",
        linewidth=3,
        zorder=2,
    )
    for index, tracker in enumerate(report.trackers):
        colour = _COLOURS[index % len(_COLOURS)]
        axes.plot(values[index], rows, "o", color=colour, markersize=7, zorder=9 - index * 0.1)
        axes.plot([], [], "o", color=colour, label=tracker.results.label)
        axes.axvline(tracker.overall.main, color=colour, linewidth=1, linestyle=":")
    if len(report.trackers) == 1:
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
        xlim=(0, 100) if low is not None else None,
        ylim=(-0.7, len(names) - 0.3),
    )
    if len(report.trackers) > 1:
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
    frames = {each.results.label: collect(each.results, common) for each in report.trackers}
    frames = {label: found for label, found in frames.items() if len(found.scores)}
    if not frames:
        return {}
    with mpl.rc_context(_STYLE):
        title = "Overlap by score"
        return {
            title: _save(_reliability(f"{title}: {report.dataset}", frames), directory, "score")
        }


def _reliability(title: str, frames: Mapping[str, ScoredFrames]) -> Figure:
    """Mean IoU over mean score in each bin; a dot is as large as its share of the frames."""
    figure = Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#888888", linewidth=1, linestyle=":", label="as it should be")
    for index, (label, found) in enumerate(frames.items()):
        colour = _COLOURS[index % len(_COLOURS)]
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


# ---- The contact sheet

_ROWS, _COLUMNS = 8, 5
_CELL_WIDTH, _CELL_HEIGHT = 300, 200
_GREEN, _ORANGE, _WHITE = drawing.TRUE_COLOUR, (255, 140, 0), (255, 255, 255)  # RGB
_HEADING = 26


def write_contact_sheet(
    report: Report, sequences: Sequence[data.Sequence], directory: Path
) -> dict[str, str]:
    """Draws the annotated and the best tracker's box on frames of its worst sequences.

    A row is a sequence; its frames are the first and others evenly up to the last, counted from 0.

    Returns:
        The picture, by title.

    Raises:
        InputError: a frame cannot be read.
    """
    by_name = {sequence.name: sequence for sequence in sequences}
    tracker = report.trackers[0]
    score = MEASURES[next(iter(tracker.overall.percent))]
    strips = [_legend(f"{report.dataset}, {tracker.results.label}: lowest {score}")]
    for name in worst(report)[:_ROWS]:
        sequence, predicted = by_name[name], tracker.results.read(name)
        title = f"{name}: {score} {tracker.sequences[name].scores.main:.1f}"
        last = min(len(predicted), len(sequence.boxes)) - 1
        frames = np.unique(np.linspace(0, last, _COLUMNS).round().astype(int))
        cells = [
            _cell(sequence.frames[index], sequence.boxes[index], predicted[index], f"#{index}")
            for index in frames.tolist()
        ]
        blank = [np.full_like(cells[0], 255)] * (_COLUMNS - len(cells))
        strips += [_strip(title), np.concatenate([*cells, *blank], axis=1)]
    sheet = np.concatenate(strips)
    _, encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    write_atomically(directory / "worst.png", encoded.tobytes())
    return {"Lowest scores": "worst.png"}


def _cell(
    frame: UInt8[np.ndarray, "H W 3"],
    annotated: Float[np.ndarray, "4"],
    predicted: Float[np.ndarray, "4"],
    label: str,
) -> UInt8[np.ndarray, "h w 3"]:
    """The part of a frame around both boxes, as large as a cell, with their overlap."""
    known = bool(np.isfinite(annotated).all() and (annotated[2:] > 0).all())
    drawn = [(annotated, _GREEN)] * known + [(predicted, _ORANGE)]
    height, width = frame.shape[:2]
    x1, y1, x2, y2 = _window(height, width, np.stack([box for box, _ in drawn]))
    scale = min((_CELL_WIDTH - 4) / (x2 - x1), (_CELL_HEIGHT - 4) / (y2 - y1))
    size = max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    part = cv2.resize(frame[y1:y2, x1:x2], size, interpolation=how)
    for box, colour in drawn:
        drawing.draw_box(part, (box - [x1, y1, 0, 0]) * scale, colour, 2)
    overlap = f"IoU {boxes.iou(predicted, annotated):.2f}" if known else "absent"
    cell = np.full((_CELL_HEIGHT, _CELL_WIDTH, 3), 255, np.uint8)
    y, x = (_CELL_HEIGHT - size[1]) // 2, (_CELL_WIDTH - size[0]) // 2
    cell[y : y + size[1], x : x + size[0]] = part
    cv2.rectangle(cell, (x, y + size[1] - 18), (x + 118, y + size[1] - 1), (20, 20, 20), -1)
    _write(cell, f"{label}  {overlap}", (x + 5, y + size[1] - 5), 0.42, _WHITE)
    return cell


def _window(height: int, width: int, around: Float[np.ndarray, "N 4"]) -> tuple[int, int, int, int]:
    """Corners of a part of a frame: boxes with as much around them, and a quarter at least."""
    size = np.array([width, height])
    corners = np.clip(boxes.xywh_to_xyxy(around), 0, np.tile(size, 2))
    low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    aspect = _CELL_WIDTH / _CELL_HEIGHT
    extent = 2.5 * (high - low)
    wide = min(width, max(extent[0], extent[1] * aspect, width / 4))
    window = np.array([wide, min(height, wide / aspect)])
    corner = np.clip((low + high - window) / 2, 0, size - window)
    x1, y1 = np.floor(corner).astype(int).tolist()
    x2, y2 = np.minimum(np.ceil(corner + window), size).astype(int).tolist()
    return x1, y1, x2, y2


def _strip(title: str) -> UInt8[np.ndarray, "h w 3"]:
    strip = np.full((_HEADING, _COLUMNS * _CELL_WIDTH, 3), 255, np.uint8)
    _write(strip, title, (6, _HEADING - 8), 0.55, (20, 20, 20))
    return strip


def _legend(title: str) -> UInt8[np.ndarray, "h w 3"]:
    strip = np.full((40, _COLUMNS * _CELL_WIDTH, 3), 40, np.uint8)
    _write(strip, title, (10, 27), 0.7, _WHITE)
    right = strip.shape[1] - 330
    for x, text, colour in ((right, "annotated", _GREEN), (right + 160, "predicted", _ORANGE)):
        cv2.rectangle(strip, (x, 12), (x + 22, 28), colour, 2)
        _write(strip, text, (x + 32, 26), 0.55, _WHITE)
    return strip


def _write(
    image: UInt8[np.ndarray, "h w 3"],
    text: str,
    origin: tuple[int, int],
    scale: float,
    colour: tuple[int, int, int],
) -> None:
    cv2.putText(image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
