"""Tracks a target with JAX, flatbuffers, NumPy and OpenCV, by programs exported as StableHLO.

asymtrack export --output exported --format stablehlo
python examples/track_stablehlo.py exported clip.mp4 120,80,60,90

Prints one line per frame: x, y, w, h in pixels and a score.
"""

import json
import sys
from pathlib import Path

import cv2
import jax
import numpy as np
from jax import export

if len(sys.argv) != 4:
    sys.exit(__doc__)
folder, video = Path(sys.argv[1]), sys.argv[2]
bbox = np.genfromtxt([sys.argv[3]], delimiter=",")  # NaN for what is not a number
if bbox.shape != (4,) or not (np.isfinite(bbox).all() and (bbox[2:] > 0).all()):
    sys.exit(f"error: a box is x,y,w,h in pixels, w and h positive; got {sys.argv[3]}")
capture, modulation, score = cv2.VideoCapture(video), None, 1.0
if not capture.isOpened():
    sys.exit(f"error: {video} cannot be read")
crops = json.loads((folder / "tracker.json").read_text())
init_template, step = (
    jax.jit(export.deserialize(bytearray((folder / f"{name}.jax_export").read_bytes())).call)
    for name in ("init_template", "step")
)


def crop(frame: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray, int]:
    """Crops a square around the box, black outside the frame; returns it, its corner and side."""
    side = int(np.ceil(np.sqrt(bbox[2:].prod()) * crops[f"{kind}_factor"]))
    corner, size = bbox[:2] + bbox[2:] / 2 - side / 2, crops[f"{kind}_size"]
    x, y = np.rint(corner).astype(int) + side  # in the padded frame
    pads = (side, side, side, side)
    padded = cv2.copyMakeBorder(frame[:-1, :-1], *pads, borderType=cv2.BORDER_CONSTANT)
    return cv2.resize(padded[y : y + side, x : x + side], (size, size))[None], corner, side


while (read := capture.read())[0]:
    frame = cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
    if modulation is None:
        inside = np.minimum(bbox[:2] + bbox[2:], frame.shape[1::-1]) - np.maximum(bbox[:2], 0)
        if min(inside) <= 0:
            sys.exit("error: the box lies outside the frame")
        modulation = init_template(crop(frame, "template")[0])
    else:
        search, corner, side = crop(frame, "search")
        prediction = step(modulation, search)
        cxcywh, score = np.asarray(prediction["boxes"][0]), prediction["scores"][0]
        low = corner + side * (cxcywh[:2] - cxcywh[2:] / 2)
        limit = np.array(frame.shape[1::-1])
        low, high = np.clip(low, 0, limit - 10), np.clip(low + side * cxcywh[2:], 10, limit)
        bbox = np.concatenate([low, np.maximum(high - low, 10)])  # at least 10 pixels in the frame
    print(",".join(f"{value:.4f}" for value in (*bbox, score)))
