"""What a person sees: annotated frames, and windows where there is a display."""

import subprocess
import sys

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from asymtrack_jax.errors import InputError

Frame = UInt8[np.ndarray, "H W 3"]

_COLOURS = [(255, 210, 0), (0, 200, 255), (255, 90, 200), (90, 230, 90), (255, 130, 40)]  # RGB
_GREY = (190, 190, 190)
_WINDOW = "AsymTrack"


def annotate(
    frame: Frame,
    bboxes: Float[np.ndarray, "N 4"],
    scores: Float[np.ndarray, " N"],
    lost: Bool[np.ndarray, " N"],
    status: str,
) -> Frame:
    """A copy of the frame with the boxes on it; lines and letters grow with the frame.

    Args:
        frame: uint8 RGB.
        bboxes: xywh, pixels.
        scores: written at each box, after the target's number if there are several.
        lost: which boxes are grey and dashed, with `lost` for the score.
        status: written in the bottom left corner.
    """
    frame = frame.copy()
    line = max(2, round(min(frame.shape[:2]) / 270))
    for index, (bbox, score, gone) in enumerate(zip(bboxes, scores, lost, strict=True)):
        colour = _GREY if gone else _COLOURS[index % len(_COLOURS)]
        x1, y1, x2, y2 = np.rint([*bbox[:2], *(bbox[:2] + bbox[2:])]).astype(int).tolist()
        rectangle = _dashed if gone else cv2.rectangle
        for thickness, shade in ((line + 2, (0, 0, 0)), (line, colour)):
            rectangle(frame, (x1, y1), (x2 - 1, y2 - 1), shade, thickness)
        number = f"{index + 1}: " if len(bboxes) > 1 else ""
        said = "lost" if gone else f"{score:.2f}"
        _write(frame, f"{number}{said}", x1, y1 - line, colour)
    _write(frame, status, 0, frame.shape[0], (255, 255, 255))
    return frame


def _dashed(
    frame: Frame,
    low: tuple[int, int],
    high: tuple[int, int],
    colour: tuple[int, int, int],
    thickness: int,
) -> None:
    """`cv2.rectangle` in dashes: of nine parts of each side every other one, corners included."""
    x, y = (
        np.linspace(*ends, 10).round().astype(int).tolist() for ends in zip(low, high, strict=True)
    )
    for i in range(0, 9, 2):
        for side in (low[1], high[1]):
            cv2.line(frame, (x[i], side), (x[i + 1], side), colour, thickness)
        for side in (low[0], high[0]):
            cv2.line(frame, (side, y[i]), (side, y[i + 1]), colour, thickness)


def _write(frame: Frame, text: str, x: int, bottom: int, colour: tuple[int, int, int]) -> None:
    """Writes a line on black above `bottom`, moved and shrunk to fit."""
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
    cv2.rectangle(frame, (x, y), (x + box_width, y + box_height), (0, 0, 0), cv2.FILLED)
    origin = (x + pad, y + pad + text_height)
    cv2.putText(frame, text, origin, font, scale, colour, thickness, cv2.LINE_AA)


def require_window(instead: str) -> None:
    """Raises `InputError` if no window can be opened here; `instead` says what else to do.

    A child process tries, because without a display OpenCV does not raise: it ends the process.
    """
    attempt = [sys.executable, "-c", "import cv2; cv2.namedWindow('w'); cv2.destroyAllWindows()"]
    try:
        subprocess.run(attempt, check=True, capture_output=True, timeout=30)
    except subprocess.SubprocessError as error:
        raise InputError(
            f"no window can be opened here (no display, or OpenCV is headless): {instead}"
        ) from error


def select_bbox(frame: Frame) -> Float[np.ndarray, "4"]:
    """Lets the person draw a box (xywh, pixels) on a frame.

    Raises:
        InputError: no window can be opened, or no box was drawn.
    """
    require_window("pass --init-bbox x,y,w,h")
    bbox = cv2.selectROI(_WINDOW, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    cv2.destroyWindow(_WINDOW)
    if not all(bbox[2:]):
        raise InputError("no box was drawn: drag one and press Enter, or pass --init-bbox x,y,w,h")
    return np.array(bbox, np.float64)


def show(frame: Frame) -> bool:
    """Shows a frame in a window; False once the person has pressed q or Escape there."""
    cv2.imshow(_WINDOW, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return cv2.waitKey(1) & 0xFF not in (ord("q"), 27)
