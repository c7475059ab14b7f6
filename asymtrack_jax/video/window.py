"""A window that shows tracking and lets the user draw boxes and change targets by keys."""

import subprocess
import sys
from collections.abc import Callable, Iterable

import cv2
import numpy as np
from jaxtyping import Float

from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.errors import InputError
from asymtrack_jax.video import drawing
from asymtrack_jax.video.step import MultiTracker, Step

KEYS = "space: pause  a: add a target  0-9: choose one  r: draw it again  x: remove it  q: quit"
_WINDOW = "AsymTrack"
_ESCAPE = "\x1b"


class Window:
    """Shows a video while it is tracked, and lets the user change targets.

    Raises:
        InputError: no window can be opened on this machine.
    """

    def __init__(self):
        require_window("leave out --show")
        self._paused = False
        self._chosen = -1

    def present(
        self, tracker: MultiTracker, step: Step, draw: Callable[[Step], Frame]
    ) -> tuple[Step, bool]:
        """Shows a step, and applies the user's keys to the tracker and the step.

        Args:
            tracker: the tracker.
            step: result of the current frame.
            draw: draws the annotated frame of a step.

        Returns:
            The step after the changes, and whether to continue.
        """
        while True:
            shown = draw(step)
            drawing.write(shown, KEYS, 0, 0, (255, 255, 255))
            cv2.imshow(_WINDOW, cv2.cvtColor(shown, cv2.COLOR_RGB2BGR))
            code = cv2.waitKey(0 if self._paused else 1)
            key = chr(code & 0xFF) if code >= 0 else ""
            if key in ("q", _ESCAPE):
                return step, False
            if key == " ":
                self._paused = not self._paused
            elif key.isdecimal():
                self._chosen = int(key)
            elif key and key in "arx":
                step = self._edit(tracker, step, key)
            elif not self._paused:
                return step, True

    def _edit(self, tracker: MultiTracker, step: Step, key: str) -> Step:
        """Adds a target (key a), or redraws (r) or removes (x) the chosen or else last target."""
        if key == "a":
            bbox = _drawn_bbox(step.frame)
            return step if bbox is None else step.with_box(tracker.add(step.frame, bbox), bbox)
        if not tracker.ids:
            return step
        target = self._chosen if self._chosen in tracker.ids else tracker.ids[-1]
        if key == "x":
            tracker.remove(target)
            return step.without(target)
        bbox = _drawn_bbox(step.frame)
        if bbox is None:
            return step
        tracker.reinit(target, step.frame, bbox)
        return step.with_box(target, bbox)


def play(frames: Iterable[Frame], fps: float) -> None:
    """Shows frames in a window until their end, or until the user presses q.

    Args:
        frames: frames, uint8 RGB.
        fps: frames per second.

    Raises:
        InputError: no window can be opened on this machine.
    """
    require_window("save the video instead")
    for frame in frames:
        cv2.imshow(_WINDOW, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        if chr(cv2.waitKey(max(1, round(1000 / fps))) & 0xFF) in ("q", _ESCAPE):
            break
    cv2.destroyWindow(_WINDOW)


def require_window(instead: str) -> None:
    """Raises `InputError` if no window can be opened; `instead` names an alternative.

    Tests it in a child process, since without a display OpenCV aborts the process.
    """
    attempt = [sys.executable, "-c", "import cv2; cv2.namedWindow('w'); cv2.destroyAllWindows()"]
    try:
        subprocess.run(attempt, check=True, capture_output=True, timeout=30)
    except subprocess.SubprocessError as error:
        raise InputError(
            f"no window can be opened here (no display, or OpenCV is headless): {instead}"
        ) from error


def select_bbox(frame: Frame) -> Float[np.ndarray, "4"]:
    """Lets the user draw a box on a frame; returns xywh in pixels.

    Raises:
        InputError: no window can be opened, or no box was drawn.
    """
    require_window("pass --init-bbox x,y,w,h")
    bbox = _drawn_bbox(frame)
    cv2.destroyWindow(_WINDOW)
    if bbox is None:
        raise InputError("no box was drawn: drag one and press Enter, or pass --init-bbox x,y,w,h")
    return bbox


def _drawn_bbox(frame: Frame) -> Float[np.ndarray, "4"] | None:
    bbox = cv2.selectROI(_WINDOW, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return np.array(bbox, np.float64) if all(bbox[2:]) else None
