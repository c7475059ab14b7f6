"""Tracks a target with ONNX Runtime, NumPy and OpenCV only.

asymtrack export --checkpoint C --output exported --format onnx
python examples/track_onnx.py exported clip.mp4 --init-bbox 120,80,60,90 --output out.mp4
python examples/track_onnx.py exported 0

Prints one line per frame: x, y, w, h in pixels and a score. The last command tracks a target in the
stream of camera 0, from a box drawn in a window, until Ctrl-C.
"""

import argparse
import itertools
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

MARGIN = 10  # minimum extent of a box inside the frame, pixels


def run(
    session: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Runs a graph and returns its outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(np.asarray, session.run(names, inputs)), strict=True))


class OnnxTracker:
    """Tracker of one target; frames are uint8 RGB, boxes x, y, w, h in pixels."""

    def __init__(self, directory: Path):
        self.crops = json.loads((directory / "tracker.json").read_text())
        providers = onnxruntime.get_available_providers()
        self.template, self.step = (
            onnxruntime.InferenceSession(directory / f"{name}.onnx", providers=providers)
            for name in ("init_template", "step")
        )

    def init(self, frame: np.ndarray, bbox: np.ndarray) -> None:
        """Initialises the target by its box in a frame."""
        template, _ = self.crop(frame, bbox, "template")
        self.modulation = run(self.template, {"template": template})
        self.bbox = bbox

    def update(self, frame: np.ndarray) -> tuple[np.ndarray, float]:
        """Returns the target's box in the next frame, and a score."""
        search, side = self.crop(frame, self.bbox, "search")
        prediction = run(self.step, {**self.modulation, "search": search})
        (box,), (score,) = prediction["boxes"], prediction["scores"]
        # The box is cxcywh in normalised coordinates of the crop.
        corner = self.bbox[:2] + self.bbox[2:] / 2 - side / 2
        centre, size = corner + box[:2] * side, box[2:] * side
        limit = np.array(frame.shape[1::-1])
        low = np.clip(centre - size / 2, 0, limit - MARGIN)
        high = np.clip(centre + size / 2, MARGIN, limit)
        self.bbox = np.concatenate([low, np.maximum(high - low, MARGIN)])
        return self.bbox, float(score)

    def crop(self, frame: np.ndarray, bbox: np.ndarray, kind: str) -> tuple[np.ndarray, int]:
        """Crops and resizes a square around a box; returns it and its side in the frame."""
        x, y, w, h = bbox
        side = math.ceil(math.sqrt(w * h) * self.crops[f"{kind}_factor"])
        left, top = round(x + w / 2 - side / 2), round(y + h / 2 - side / 2)
        # Black outside the frame, and in its last row and column, as in the published tracker.
        x0, x1 = max(left, 0), min(left + side, frame.shape[1] - 1)
        y0, y1 = max(top, 0), min(top + side, frame.shape[0] - 1)
        square = np.zeros((side, side, 3), np.uint8)
        if x0 < x1 and y0 < y1:
            square[y0 - top : y1 - top, x0 - left : x1 - left] = frame[y0:y1, x0:x1]
        size = self.crops[f"{kind}_size"]
        return cv2.resize(square, (size, size))[None], side


def read(capture: cv2.VideoCapture) -> Iterator[np.ndarray]:
    """Yields all frames in RGB."""
    while True:
        found, frame = capture.read()
        if not found:
            return
        yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def draw(frame: np.ndarray, bbox: np.ndarray, score: float) -> np.ndarray:
    """Draws a box and its score on a BGR copy of an RGB frame."""
    image = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    x, y, w, h = np.rint(bbox).astype(int).tolist()
    cv2.rectangle(image, (x, y), (x + w, y + h), (0, 210, 255), 2)
    place = (x, max(y - 6, 14))
    cv2.putText(image, f"{score:.2f}", place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 210, 255), 1)
    return image


def xywh(text: str) -> np.ndarray:
    """Parses a box; raises `ValueError` unless it is four numbers, w and h positive."""
    x, y, w, h = (float(number) for number in text.split(","))
    if not (math.isfinite(x + y + w + h) and min(w, h) > 0):
        raise ValueError
    return np.array([x, y, w, h])


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description="Tracks a target with ONNX Runtime.")
    parser.add_argument("exported", type=Path, help="the folder that the export wrote")
    parser.add_argument(
        "video", help="a video file, numbered images (frames/%%04d.jpg), or a camera's index"
    )
    parser.add_argument(
        "--init-bbox", type=xywh, metavar="X,Y,W,H", help="by default drawn in a window"
    )
    parser.add_argument("--output", type=Path, metavar="MP4", help="annotated video to write")
    args = parser.parse_args()
    if not (args.exported / "step.onnx").is_file():
        sys.exit(f"error: {args.exported} has no step.onnx: run asymtrack export --format onnx")
    capture = cv2.VideoCapture(int(args.video) if args.video.isdigit() else args.video)
    frames = read(capture)
    first = next(frames, None)
    if first is None:
        sys.exit(f"error: {args.video} cannot be read")
    bbox = args.init_bbox
    if bbox is None:
        bbox = np.array(cv2.selectROI("target", cv2.cvtColor(first, cv2.COLOR_RGB2BGR)), np.float64)
        cv2.destroyAllWindows()
    inside = np.minimum(bbox[:2] + bbox[2:], first.shape[1::-1]) - np.maximum(bbox[:2], 0)
    if min(inside) <= 0:
        sys.exit("error: no box was drawn, or it lies outside the frame")
    tracker, score = OnnxTracker(args.exported), 1.0
    tracker.init(first, bbox)
    writer = cv2.VideoWriter()
    if args.output:
        fps = capture.get(cv2.CAP_PROP_FPS) or 25.0
        codec = cv2.VideoWriter.fourcc(*"mp4v")
        if not writer.open(str(args.output), codec, fps, first.shape[1::-1]):
            sys.exit(f"error: {args.output} cannot be written")
    try:
        for index, frame in enumerate(itertools.chain([first], frames)):
            if index:
                bbox, score = tracker.update(frame)
            print(",".join(f"{value:.4f}" for value in (*bbox, score)), flush=True)
            if args.output:
                writer.write(draw(frame, bbox, score))
    except KeyboardInterrupt:
        pass
    finally:
        writer.release()


if __name__ == "__main__":
    main()
