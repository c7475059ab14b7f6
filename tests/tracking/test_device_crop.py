"""Crops on the device against those on the host, which are the published ones."""

import jax
import numpy as np
import pytest

from asymtrack_jax.data.crop import crop_square
from asymtrack_jax.tracking.device_crop import crop_squares

H, W = 90, 130


def some_boxes(size: int) -> np.ndarray:
    """Random boxes in, at and outside the frame, and those that rounding is delicate for."""
    draw = np.random.default_rng(size)
    sides = np.exp(draw.uniform(np.log(0.3), np.log(1.5 * H), (150, 2)))
    boxes = np.column_stack([draw.uniform(-40, [W, H], (150, 2)), sides])
    scaled = [
        [x, 20, s, s] for x in (-9.5, 20, 20.5, 21, 60) for s in (size / 8, size / 4, size / 2)
    ]
    edges = [[0, 0, W, H], [-30, -30, 10, 10], [W + 20, 5, 10, 10], [W - 25, H - 25, 10, 10]]
    touching = [[W - d, H - d, 20, 20] for d in (50, 51, 52)]  # by the last column and row
    return np.concatenate([boxes, np.rint(boxes), scaled, edges, touching]).clip(
        [-99, -99, 0.1, 0.1]
    )


@pytest.mark.parametrize("size", [64, 96, 128])
def test_crops_are_the_hosts_bit_for_bit(size):
    boxes = some_boxes(size)
    frames = np.random.default_rng(0).integers(0, 256, (len(boxes), H, W, 3), np.uint8)
    with jax.enable_x64(True):
        crop = jax.jit(crop_squares, static_argnums=(3, 4))
        result = crop(np.stack([frames, 255 - frames], axis=1), 0, boxes, 4.0, size)
    for frame, box, crop, scale in zip(frames, boxes, *jax.device_get(result), strict=True):
        expected, expected_scale = crop_square(frame, box, 4.0, size)
        np.testing.assert_array_equal(crop, expected, err_msg=str(box))
        assert scale == expected_scale
