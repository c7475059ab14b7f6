"""Crops and the way back against the published implementation."""

import jax.numpy as jnp
import numpy as np

from asymtrack_jax.boxes import clip_to_frame
from asymtrack_jax.tracking.crop import crop_square, map_back, normalise
from tests import published

GOLDEN = published.golden("tracker")


def test_crops_are_the_published_ones_bit_for_bit():
    for case, crop, scale in zip(
        GOLDEN["crop_cases"], GOLDEN["crops"], GOLDEN["resize_factors"], strict=True
    ):
        ours, our_scale = crop_square(GOLDEN["image"], case[:4], case[4], int(case[5]))
        np.testing.assert_array_equal(ours, crop, err_msg=str(case))
        assert our_scale == scale


def test_next_boxes_are_the_published_ones():
    height, width = GOLDEN["image_hw"]
    states = GOLDEN["state_xywh"]
    scales = [crop_square(GOLDEN["image"], state, 4.0, 256)[1] for state in states]
    mapped = map_back(GOLDEN["pred_cxcywh"], states, np.array(scales), 256)
    ours = clip_to_frame(mapped, int(height), int(width))
    np.testing.assert_allclose(ours, GOLDEN["next_state_xywh"], rtol=0, atol=1e-5)


def test_a_square_beside_the_frame_is_black():
    frame = np.full((40, 50, 3), 255, np.uint8)
    for x, y in ((-100.0, 5.0), (5.0, -100.0), (90.0, 5.0), (5.0, 90.0), (59.0, 5.0)):
        crop, scale = crop_square(frame, np.array([x, y, 10.0, 10.0]), 2.0, 32)
        assert not crop.any()
        assert scale == 32 / 20


def test_normalise_is_imagenets():
    pixels = np.array([[0, 0, 0], [255, 255, 255], [124, 116, 104]], np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (pixels / 255 - mean) / std
    assert normalise(pixels).dtype == np.float32
    np.testing.assert_allclose(normalise(pixels), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(normalise(jnp.asarray(pixels)), expected, rtol=1e-5, atol=1e-6)
