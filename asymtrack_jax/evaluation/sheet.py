"""The contact sheet: the worst sequences, with all trackers' boxes on some of their frames."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from asymtrack_jax import boxes
from asymtrack_jax.data import sequences as data
from asymtrack_jax.evaluation.colours import COLOURS
from asymtrack_jax.evaluation.protocols import MEASURES
from asymtrack_jax.evaluation.report import Report, TrackerScores, worst
from asymtrack_jax.files import write_atomically
from asymtrack_jax.video import drawing

_ROWS, _COLUMNS = 8, 5
_CELL_WIDTH, _CELL_HEIGHT = 300, 200
_HEADING = 26
_WHITE, _DARK = (255, 255, 255), (20, 20, 20)
_COLOURS: list[drawing.Colour] = [
    (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:], 16)) for colour in COLOURS
]  # RGB


def shown_boxes(tracker: TrackerScores, sequence: data.Sequence) -> Float[np.ndarray, "N 4"]:
    """A tracker's boxes of a sequence as protocols take them: the first is the annotated one.

    The file has it truncated to integers, an overlap of 0.9 or so that no protocol counts.
    """
    predicted = tracker.results.read(sequence.name)[: len(sequence.boxes)]
    return np.concatenate([sequence.boxes[:1], predicted[1:]])


def write_contact_sheet(
    report: Report, sequences: Sequence[data.Sequence], directory: Path
) -> dict[str, str]:
    """Draws the annotated and all trackers' boxes on frames of the best tracker's worst sequences.

    A row is a sequence; its frames are the first and others evenly up to the last, counted from 0.

    Returns:
        The picture, by title.

    Raises:
        InputError: a frame cannot be read.
    """
    by_name = {sequence.name: sequence for sequence in sequences}
    trackers = report.trackers[: len(_COLOURS)]
    score = MEASURES[report.measures[0]]
    strips = [
        _legend(
            f"{report.dataset}: {score}; IoU in frames", [tracker.label for tracker in trackers]
        )
    ]
    for name in worst(report)[:_ROWS]:
        sequence = by_name[name]
        predicted = [shown_boxes(tracker, sequence) for tracker in trackers]
        mains = (f"{tracker.sequences[name].scores.main:.1f}" for tracker in trackers)
        last = min(map(len, predicted)) - 1
        frames = np.unique(np.linspace(0, last, _COLUMNS).round().astype(int)).tolist()
        cells = [
            _cell(
                *(sequence.frames[index], sequence.boxes[index]),
                *(np.stack([found[index] for found in predicted]), f"#{index}"),
            )
            for index in frames
        ]
        blank = [np.full_like(cells[0], 255)] * (_COLUMNS - len(cells))
        title = f"{name}: {', '.join(mains)}"
        strips += [_strip(title), np.concatenate([*cells, *blank], axis=1)]
    sheet = np.concatenate(strips)
    _, encoded = cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    write_atomically(directory / "worst.png", encoded.tobytes())
    return {"Lowest scores": "worst.png"}


def _cell(
    frame: UInt8[np.ndarray, "H W 3"],
    annotated: Float[np.ndarray, "4"],
    predicted: Float[np.ndarray, "trackers 4"],
    label: str,
) -> UInt8[np.ndarray, "h w 3"]:
    """The part of a frame around all boxes, as large as a cell, with their overlaps."""
    known = bool(np.isfinite(annotated).all() and (annotated[2:] > 0).all())
    drawn = [(annotated, drawing.TRUE_COLOUR)] * known + list(
        zip(predicted[::-1], _COLOURS[: len(predicted)][::-1], strict=True)  # the best on top
    )
    height, width = frame.shape[:2]
    x1, y1, x2, y2 = _window(height, width, np.stack([box for box, _ in drawn]))
    scale = min((_CELL_WIDTH - 4) / (x2 - x1), (_CELL_HEIGHT - 4) / (y2 - y1))
    size = max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    part = cv2.resize(frame[y1:y2, x1:x2], size, interpolation=how)
    for box, colour in drawn:
        drawing.draw_box(part, (box - [x1, y1, 0, 0]) * scale, colour, 2)
    overlaps = [f"{boxes.iou(box, annotated):.2f}" for box in predicted] if known else ["absent"]
    cell = np.full((_CELL_HEIGHT, _CELL_WIDTH, 3), 255, np.uint8)
    y, x = (_CELL_HEIGHT - size[1]) // 2, (_CELL_WIDTH - size[0]) // 2
    cell[y : y + size[1], x : x + size[0]] = part
    bottom = y + size[1]
    cv2.rectangle(cell, (x, bottom - 18), (x + 48 + 30 * len(overlaps), bottom - 1), _DARK, -1)
    _write(cell, label, (x + 5, bottom - 5), 0.38, _WHITE)
    for index, (text, colour) in enumerate(zip(overlaps, _COLOURS, strict=False)):
        _write(cell, text, (x + 46 + 30 * index, bottom - 5), 0.38, colour)
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
    _write(strip, title, (6, _HEADING - 8), 0.55, _DARK)
    return strip


def _legend(title: str, labels: Sequence[str]) -> UInt8[np.ndarray, "h w 3"]:
    strip = np.full((40, _COLUMNS * _CELL_WIDTH, 3), 40, np.uint8)
    _write(strip, title, (10, 27), 0.6, _WHITE)
    x = strip.shape[1]
    named = [("annotated", drawing.TRUE_COLOUR), *zip(labels, _COLOURS, strict=False)]
    for text, colour in reversed(named):
        x -= 56 + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]
        cv2.rectangle(strip, (x, 12), (x + 22, 28), colour, 2)
        _write(strip, text, (x + 30, 26), 0.5, _WHITE)
    return strip


def _write(
    image: UInt8[np.ndarray, "h w 3"],
    text: str,
    origin: tuple[int, int],
    scale: float,
    colour: tuple[int, int, int],
) -> None:
    cv2.putText(image, text, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
