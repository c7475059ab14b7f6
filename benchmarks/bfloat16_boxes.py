"""Measures the difference of boxes in bfloat16 and float32 on held-out rendered clips.

`python -m benchmarks.bfloat16_boxes`; `--checkpoint C` names other weights than the packaged ones.
Both precisions get the same search crops, around the true box of the previous frame.
"""

import argparse

import jax
import numpy as np
from jaxtyping import Float

import asymtrack_jax
from asymtrack_jax import Model
from asymtrack_jax.data.crop import crop_square, crop_to_frame
from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.evaluation.benchmarks import read_sequences
from asymtrack_jax.weights import TINY

STRIDE = 6  # frames between steps


def main() -> None:
    """Prints the differences of boxes and scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default=TINY)
    checkpoint = parser.parse_args().checkpoint
    full, half = (asymtrack_jax.load(checkpoint, dtype=dtype) for dtype in ("float32", "bfloat16"))
    sequences = read_sequences("synthetic", None)
    found = np.concatenate([differences(full, half, sequence) for sequence in sequences])
    pixels, scores = found.T
    device = jax.devices()[0].device_kind
    print(
        f"{len(found)} steps on {device}, jax {jax.__version__}: boxes differ by "
        f"{np.median(pixels):.2f} pixels in the median, {pixels.mean():.2f} in the mean, "
        f"{np.quantile(pixels, 0.99):.2f} in the 99th percentile, {pixels.max():.2f} at most; "
        f"scores by {scores.mean():.4f} in the mean, {scores.max():.4f} at most"
    )


def differences(full: Model, half: Model, sequence: Sequence) -> Float[np.ndarray, "N 2"]:
    """Returns the largest difference of x, y, w, h in pixels, and of the score, by frame."""
    c, rows = full.config, []
    template, _ = crop_square(
        sequence.frames[0], sequence.boxes[0], c.template_factor, c.template_size
    )
    modulations = [model.init_template(template[None]) for model in (full, half)]
    for index in range(STRIDE, len(sequence.frames), STRIDE):
        bbox = sequence.boxes[index - 1]
        if not np.isfinite(bbox).all():
            continue
        search, scale = crop_square(sequence.frames[index], bbox, c.search_factor, c.search_size)
        predictions = [
            model.step(modulation, search[None])
            for model, modulation in zip((full, half), modulations, strict=True)
        ]
        boxes = [
            crop_to_frame(np.asarray(p.boxes), bbox[None], np.array([scale]), c.search_size)
            for p in predictions
        ]
        scores = [float(p.scores[0]) for p in predictions]
        rows.append([np.abs(boxes[0] - boxes[1]).max(), abs(scores[0] - scores[1])])
    return np.array(rows)


if __name__ == "__main__":
    main()
