"""Crops against the published implementation."""

import numpy as np
import pytest

from asymtrack_jax.boxes import clip_to_frame
from asymtrack_jax.data.crop import crop_square, crop_to_frame
from asymtrack_jax.errors import InputError
from tests import published

GOLDEN = published.golden("tracker")


def test_crops_are_the_published_ones_bit_for_bit():
    for case, crop, scale in zip(
        GOLDEN["crop_cases"], GOLDEN["crops"], GOLDEN["resize_factors"], strict=True
    ):
        ours, our_scale = crop_square(GOLDEN["image"], case[:4], case[4], int(case[5]))
        np.testing.assert_array_equal(ours, crop, err_msg=str(case))
        assert our_scale == scale


def test_a_square_beside_the_frame_is_black():
    frame = np.full((40, 50, 3), 255, np.uint8)
    for x, y in ((-100.0, 5.0), (5.0, -100.0), (90.0, 5.0), (5.0, 90.0), (59.0, 5.0)):
        crop, scale = crop_square(frame, np.array([x, y, 10.0, 10.0]), 2.0, 32)
        assert not crop.any()
        assert scale == 32 / 20


def test_a_mirrored_view_is_cropped_as_its_copy():
    frame = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    for box in ([30.0, 20.0, 12.0, 9.0], [-4.0, 50.0, 20.0, 20.0], [80.0, 3.0, 30.0, 8.0]):
        view = frame[:, ::-1]
        ours, _ = crop_square(view, np.array(box), 2.5, 40)
        expected, _ = crop_square(np.ascontiguousarray(view), np.array(box), 2.5, 40)
        np.testing.assert_array_equal(ours, expected)
        assert ours.any()


def test_a_tiny_box_gives_a_pixel():
    frame = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    crop, scale = crop_square(frame, np.array([10, 10, 1e-200, 1e-200]), 2.0, 32)
    assert (crop == frame[10, 10]).all()
    assert scale == 32


@pytest.mark.parametrize(
    "box",
    [
        [0, 0, 0, 5],
        [0, 0, 5, -5],
        [0, 0, np.nan, 5],
        [np.inf, 0, 5, 5],
        [0, 0, 1e200, 1e200],
        [0, 0, 1e5, 1e5],
    ],
)
def test_a_box_that_no_crop_fits_is_refused(box):
    with pytest.raises(InputError, match="a box must be finite, with a positive width and height"):
        crop_square(np.zeros((40, 50, 3), np.uint8), np.array(box, float), 2.0, 32)


def test_next_boxes_are_the_published_ones():
    height, width = GOLDEN["image_hw"]
    states = GOLDEN["state_xywh"]
    scales = [crop_square(GOLDEN["image"], state, 4.0, 256)[1] for state in states]
    mapped = crop_to_frame(GOLDEN["pred_cxcywh"], states, np.array(scales), 256)
    ours = clip_to_frame(mapped, int(height), int(width))
    np.testing.assert_allclose(ours, GOLDEN["next_state_xywh"], rtol=0, atol=1e-5)
