"""The contact sheet: the sequences with the lowest scores, with all trackers' boxes."""

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
from asymtrack_jax.video.writers import letterbox

_ROWS, _COLUMNS = 8, 5
_WIDTH, _HEIGHT = 300, 200  # pixels of a cell
_HEADING = 26
_WHITE = (255, 255, 255)
_COLOURS: list[drawing.Colour] = [
    (r, g, b) for r, g, b in (bytes.fromhex(colour[1:]) for colour in COLOURS)
]  # RGB


def shown_boxes(tracker: TrackerScores, sequence: data.Sequence) -> Float[np.ndarray, "N 4"]:
    """Returns a tracker's boxes as protocols take them: the first is the annotated one.

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
    labels = [(each.label, colour) for each, colour in zip(trackers, _COLOURS, strict=False)]
    title = f"{report.dataset}: {MEASURES[report.measures[0]]}; IoU in frames"
    strips = [_heading([(title, _WHITE), ("annotated", drawing.TRUE_COLOUR), *labels])]
    for name in worst(report)[:_ROWS]:
        sequence = by_name[name]
        predicted = np.stack([shown_boxes(tracker, sequence) for tracker in trackers])
        last = predicted.shape[1] - 1
        row = np.zeros((_HEIGHT, _COLUMNS * _WIDTH, 3), np.uint8)
        for column, index in enumerate(
            np.unique(np.linspace(0, last, _COLUMNS).round().astype(int)).tolist()
        ):
            row[:, column * _WIDTH : (column + 1) * _WIDTH] = _cell(
                sequence.frames[index], sequence.boxes[index], predicted[:, index], f"#{index}"
            )
        mains = (f"{tracker.sequences[name].scores.main:.1f}" for tracker in trackers)
        strips += [_heading([(f"{name}: {', '.join(mains)}", _WHITE)]), row]
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
    """Draws the part of a frame around all boxes, as large as a cell, with their overlaps."""
    known = bool(np.isfinite(annotated).all() and (annotated[2:] > 0).all())
    drawn = [(annotated, drawing.TRUE_COLOUR)] * known + list(
        zip(predicted[::-1], _COLOURS[: len(predicted)][::-1], strict=True)  # the best on top
    )
    height, width = frame.shape[:2]
    x1, y1, x2, y2 = _window(height, width, np.stack([box for box, _ in drawn]))
    scale = min(_WIDTH / (x2 - x1), _HEIGHT / (y2 - y1))
    size = max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    part = cv2.resize(frame[y1:y2, x1:x2], size, interpolation=how)
    for box, colour in drawn:
        drawing.draw_box(part, (box - [x1, y1, 0, 0]) * scale, colour, 2)
    cell = letterbox(part, _HEIGHT, _WIDTH)
    overlaps = [f"{boxes.iou(box, annotated):.2f}" for box in predicted] if known else ["absent"]
    texts = [(label, _WHITE), *zip(overlaps, _COLOURS, strict=False)]
    _write(cell, texts)
    return cell


def _window(height: int, width: int, around: Float[np.ndarray, "N 4"]) -> tuple[int, int, int, int]:
    """Returns the corners of the part to show: 2.5 times the boxes' extent, if not too small."""
    size = np.array([width, height])
    corners = np.clip(boxes.xywh_to_xyxy(around), 0, np.tile(size, 2))
    low, high = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    aspect = _WIDTH / _HEIGHT
    extent = 2.5 * (high - low)
    wide = min(width, max(extent[0], extent[1] * aspect, width / 4))
    window = np.array([wide, min(height, wide / aspect)])
    corner = np.clip((low + high - window) / 2, 0, size - window)
    x1, y1 = np.floor(corner).astype(int).tolist()
    x2, y2 = np.minimum(np.ceil(corner + window), size).astype(int).tolist()
    return x1, y1, x2, y2


def _heading(texts: Sequence[tuple[str, drawing.Colour]]) -> UInt8[np.ndarray, "h w 3"]:
    strip = np.zeros((_HEADING, _COLUMNS * _WIDTH, 3), np.uint8)
    _write(strip, texts)
    return strip


def _write(image: UInt8[np.ndarray, "h w 3"], texts: Sequence[tuple[str, drawing.Colour]]) -> None:
    """Writes texts side by side at the bottom left corner of an image."""
    x = 0
    for text, colour in texts:
        x = drawing.write(image, text, x, len(image), colour)
