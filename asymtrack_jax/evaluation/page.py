"""`report.html`: a report as one self-contained file, with plots and sequences to play."""

import base64
import importlib.resources
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float

from asymtrack_jax import boxes
from asymtrack_jax.data import sequences as data
from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import tables
from asymtrack_jax.evaluation.colours import COLOURS
from asymtrack_jax.evaluation.protocols import MEASURES
from asymtrack_jax.evaluation.report import Report, ordered
from asymtrack_jax.evaluation.sheet import shown_boxes
from asymtrack_jax.files import write_atomically
from asymtrack_jax.video.drawing import TRUE_COLOUR

NAME = "report.html"
_FIRST, _LAST = 16, 8  # sequences of the by-sequence table that can be played, from both ends
_FRAMES = 24  # of each, at most
_POINTS = 300  # of a curve of overlaps, at most
_WIDTH = 360  # pixels of a frame, at most
_BUDGET = 14_000_000  # characters of all frames


def write(
    report: Report,
    sequences: Sequence[data.Sequence],
    directory: Path,
    pictures: Mapping[str, str],
) -> None:
    """Writes report.html, which needs no other file and no network.

    Sequences whose frames cannot be read are in the tables alone.

    Args:
        report: the report.
        sequences: sequences with their images.
        directory: an existing folder.
        pictures: PNG files in it, by title.
    """
    content = {
        "report": tables.as_json(report),
        "measures": {name: MEASURES[name] for name in report.measures},
        "order": ordered(report),
        "plots": [
            {"title": title, "image": _uri("png", (directory / name).read_bytes())}
            for title, name in pictures.items()
        ],
        "strips": list(_strips(report, sequences)),
        "colours": COLOURS,
        "trueColour": "rgb({}, {}, {})".format(*TRUE_COLOUR),
    }
    # Within a script element only `</` and `<!--` could end or change it.
    text = json.dumps(_without_nan(content), separators=(",", ":")).replace("<", "\\u003c")
    template = importlib.resources.files("asymtrack_jax.evaluation") / "page.html"
    page = template.read_text(encoding="utf-8").replace("{{content}}", text)
    write_atomically(directory / NAME, page.encode())


def _strips(report: Report, sequences: Sequence[data.Sequence]) -> Iterator[dict[str, Any]]:
    """Yields sequences to play, within the budget, in the order of the table by sequence."""
    by_name = {sequence.name: sequence for sequence in sequences}
    names = ordered(report)
    if len(names) > _FIRST + _LAST:
        names = names[:_FIRST] + names[-_LAST:]
    left = _BUDGET
    for name in names:
        try:
            strip = _strip(report, by_name[name])
        except InputError:
            continue
        left -= sum(len(frame["image"]) for frame in strip["frames"])
        if left < 0:
            return
        yield strip


def _strip(report: Report, sequence: data.Sequence) -> dict[str, Any]:
    predicted = [shown_boxes(each, sequence) for each in report.trackers[: len(COLOURS)]]
    length = min(map(len, predicted))
    points = _evenly(length, _POINTS)
    frames = []
    for index in _evenly(length, _FRAMES):
        image, scale = _small(sequence.frames[index])
        _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 72])
        drawn = [sequence.boxes[index], *(found[index] for found in predicted)]
        frames.append(
            {
                "index": index,
                "image": _uri("jpeg", encoded.tobytes()),
                "size": [image.shape[1], image.shape[0]],
                "boxes": [(box * scale).round(1).tolist() for box in drawn],
            }
        )
    return {
        "name": sequence.name,
        "length": length,
        "frames": frames,
        "points": points,
        "overlaps": [_overlaps(found, sequence.boxes, points) for found in predicted],
    }


def _overlaps(
    predicted: Float[np.ndarray, "N 4"], annotated: Float[np.ndarray, "M 4"], points: list[int]
) -> list[float]:
    """Returns the IoU in some frames; NaN where the target is absent."""
    overlaps = boxes.iou(predicted[points], annotated[points])
    absent = ~(annotated[points, 2:] > 0).all(axis=1)
    return np.where(absent, np.nan, overlaps).round(3).tolist()


def _evenly(length: int, most: int) -> list[int]:
    return np.unique(np.linspace(0, length - 1, most).round().astype(int)).tolist()


def _small(frame: Frame) -> tuple[Frame, float]:
    """Returns a frame downscaled to at most `_WIDTH` pixels per side, and the scale."""
    scale = min(1.0, _WIDTH / max(frame.shape[:2]))
    if scale == 1:
        return frame, scale
    size = [max(1, round(side * scale)) for side in frame.shape[1::-1]]
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA), scale


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _without_nan(value: Any) -> Any:
    """Replaces numbers that JSON does not have by None."""
    if isinstance(value, dict):
        return {key: _without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(each) for each in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
