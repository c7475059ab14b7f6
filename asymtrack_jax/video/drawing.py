"""Drawing of boxes and text on frames."""

import cv2
import numpy as np
from jaxtyping import Float, Int

from asymtrack_jax.boxes import xywh_to_xyxy
from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.video.step import LOST_SCORE

Colour = tuple[int, int, int]  # RGB

TRUE_COLOUR: Colour = (80, 230, 80)
COLOURS = [(255, 210, 0), (0, 200, 255), (255, 90, 200), (255, 130, 40), (170, 140, 255)]
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_FAR = 1 << 20  # pixels; OpenCV is slow, or fails, with larger coordinates


def annotate(
    frame: Frame,
    targets: Int[np.ndarray, " N"],
    bboxes: Float[np.ndarray, "N 4"],
    scores: Float[np.ndarray, " N"],
    status: str,
    truth: Float[np.ndarray, "4"] | None = None,
) -> Frame:
    """Draws boxes on a copy of a frame; lines and text scale with the frame.

    Args:
        frame: uint8 RGB.
        targets: ids, which determine the colours; written at the boxes unless 0 is the only one.
        bboxes: xywh in pixels.
        scores: scores, written at the boxes; below `LOST_SCORE` a box is dashed.
        status: text for the bottom left corner.
        truth: true box, xywh in pixels, NaN where the target is absent; None if it is not known.

    Returns:
        The annotated copy.
    """
    frame = frame.copy()
    line = max(2, round(min(frame.shape[:2]) / 270))
    if truth is not None and np.isfinite(truth).all():
        draw_box(frame, truth, TRUE_COLOUR, max(1, line // 2))
    for target, bbox, score in zip(targets.tolist(), bboxes, scores.tolist(), strict=True):
        lost, colour = score < LOST_SCORE, COLOURS[target % len(COLOURS)]
        draw_box(frame, bbox, colour, line, dashed=lost)
        x, y = np.rint(bbox[:2].clip(-_FAR, _FAR)).astype(int).tolist()
        number = f"{target}: " if targets.tolist() != [0] else ""
        write(frame, f"{number}{'lost ' * lost}{score:.2f}", x, y - line, colour)
    write(frame, status, 0, frame.shape[0], _WHITE)
    return frame


def draw_box(
    image: Frame,
    bbox: Float[np.ndarray, "4"],
    colour: Colour,
    thickness: int,
    *,
    dashed: bool = False,
) -> None:
    """Draws a box, xywh in pixels, with a dark outline, on an image in place."""
    corners = xywh_to_xyxy(np.asarray(bbox, np.float64)).clip(-_FAR, _FAR)
    x1, y1, x2, y2 = np.rint(corners).astype(int).tolist()
    rectangle = _dashed if dashed else cv2.rectangle
    for width, shade in ((thickness + 2, _BLACK), (thickness, colour)):
        rectangle(image, (x1, y1), (x2 - 1, y2 - 1), shade, width)


def _dashed(
    image: Frame, low: tuple[int, int], high: tuple[int, int], colour: Colour, thickness: int
) -> None:
    """Draws a dashed `cv2.rectangle`: every other one of nine segments per side."""
    x, y = (
        np.linspace(*ends, 10).round().astype(int).tolist() for ends in zip(low, high, strict=True)
    )
    for i in range(0, 9, 2):
        for side in (low[1], high[1]):
            cv2.line(image, (x[i], side), (x[i + 1], side), colour, thickness)
        for side in (low[0], high[0]):
            cv2.line(image, (side, y[i]), (side, y[i + 1]), colour, thickness)


def write(frame: Frame, text: str, x: int, bottom: int, colour: Colour) -> int:
    """Writes a line of text on black above `bottom`, shifted and shrunk to fit the frame.

    Returns:
        The x coordinate of its right end.
    """
    height, width = frame.shape[:2]
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, max(0.4, min(height, width) / 800)
    text_width = cv2.getTextSize(text, font, scale, 1)[0][0]
    scale *= min(1.0, 0.95 * width / text_width)
    thickness = max(1, round(1.5 * scale))
    (text_width, text_height), baseline = cv2.getTextSize(text, font, scale, thickness)
    pad = 1 + round(5 * scale)
    box_width, box_height = text_width + 2 * pad, text_height + baseline + 2 * pad
    x = max(0, min(x, width - box_width))
    y = max(0, min(bottom, height) - box_height)
    cv2.rectangle(frame, (x, y), (x + box_width, y + box_height), _BLACK, cv2.FILLED)
    origin = (x + pad, y + pad + text_height)
    cv2.putText(frame, text, origin, font, scale, colour, thickness, cv2.LINE_AA)
    return x + box_width
