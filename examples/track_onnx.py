"""Follows a target with ONNX Runtime, NumPy and OpenCV alone.

asymtrack export --checkpoint C --output exported --format onnx
python examples/track_onnx.py exported clip.mp4 --init-bbox 120,80,60,90

Prints a line a frame: x, y, w, h in pixels and a score. The video may also be numbered images,
such as frames/%04d.jpg.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

MARGIN = 10  # pixels of every box that stay inside the frame


def run(
    session: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """All of a graph's outputs, by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(np.asarray, session.run(names, inputs)), strict=True))


class OnnxTracker:
    """One target; frames are uint8 RGB, boxes x, y, w, h in pixels."""

    def __init__(self, directory: Path):
        self.crops = json.loads((directory / "tracker.json").read_text())
        providers = onnxruntime.get_available_providers()
        self.template, self.step = (
            onnxruntime.InferenceSession(directory / f"{name}.onnx", providers=providers)
            for name in ("init_template", "step")
        )

    def init(self, frame: np.ndarray, bbox: list[float]) -> None:
        """Starts on a frame."""
        template, _ = self.crop(frame, bbox, "template")
        self.modulation = run(self.template, {"template": template})
        self.bbox = np.array(bbox, np.float64)

    def update(self, frame: np.ndarray) -> tuple[np.ndarray, float]:
        """The target's box in the next frame, and a score."""
        search, side = self.crop(frame, self.bbox, "search")
        prediction = run(self.step, {**self.modulation, "search": search})
        (box,), (score,) = prediction["boxes"], prediction["scores"]
        corner = self.bbox[:2] + self.bbox[2:] / 2 - side / 2
        centre, size = corner + box[:2] * side, box[2:] * side
        limit = np.array(frame.shape[1::-1])
        low = np.clip(centre - size / 2, 0, limit - MARGIN)
        high = np.clip(centre + size / 2, MARGIN, limit)
        self.bbox = np.concatenate([low, np.maximum(high - low, MARGIN)])
        return self.bbox, float(score)

    def crop(self, frame: np.ndarray, bbox, kind: str) -> tuple[np.ndarray, int]:
        """A square around a box, black outside the frame, resized; and its side in the frame."""
        x, y, w, h = bbox
        side = math.ceil(math.sqrt(w * h) * self.crops[f"{kind}_factor"])
        left, top = round(x + w / 2 - side / 2), round(y + h / 2 - side / 2)
        # The frame's last row and column stay out, as in the published tracker.
        x0, x1 = max(left, 0), min(left + side, frame.shape[1] - 1)
        y0, y1 = max(top, 0), min(top + side, frame.shape[0] - 1)
        square = np.zeros((side, side, 3), np.uint8)
        if x0 < x1 and y0 < y1:
            square[y0 - top : y1 - top, x0 - left : x1 - left] = frame[y0:y1, x0:x1]
        size = self.crops[f"{kind}_size"]
        return cv2.resize(square, (size, size))[None], side


def main() -> None:
    """Tracks as the command line says."""
    parser = argparse.ArgumentParser(description="Follows a target with ONNX Runtime.")
    parser.add_argument("exported", type=Path, help="what the export wrote")
    parser.add_argument("video", help="a video file, or numbered images: frames/%%04d.jpg")
    parser.add_argument("--init-bbox", required=True, metavar="X,Y,W,H")
    args = parser.parse_args()
    bbox = [float(value) for value in args.init_bbox.split(",")]
    capture = cv2.VideoCapture(args.video)
    found, frame = capture.read()
    if not found:
        sys.exit(f"error: {args.video} cannot be read")
    tracker = OnnxTracker(args.exported)
    tracker.init(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), bbox)
    score = 1.0
    while found:
        print(",".join(f"{value:.4f}" for value in (*bbox, score)))
        found, frame = capture.read()
        if found:
            bbox, score = tracker.update(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))


if __name__ == "__main__":
    main()
