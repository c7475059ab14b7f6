"""The way back to the frame against the published implementation, and normalisation."""

import jax.numpy as jnp
import numpy as np

from asymtrack_jax.boxes import clip_to_frame
from asymtrack_jax.data.crop import crop_square
from asymtrack_jax.tracking.crop import map_back, normalise
from tests import published

GOLDEN = published.golden("tracker")


def test_next_boxes_are_the_published_ones():
    height, width = GOLDEN["image_hw"]
    states = GOLDEN["state_xywh"]
    scales = [crop_square(GOLDEN["image"], state, 4.0, 256)[1] for state in states]
    mapped = map_back(GOLDEN["pred_cxcywh"], states, np.array(scales), 256)
    ours = clip_to_frame(mapped, int(height), int(width))
    np.testing.assert_allclose(ours, GOLDEN["next_state_xywh"], rtol=0, atol=1e-5)


def test_normalise_is_imagenets():
    pixels = np.array([[0, 0, 0], [255, 255, 255], [124, 116, 104]], np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (pixels / 255 - mean) / std
    assert normalise(pixels).dtype == np.float32
    np.testing.assert_allclose(normalise(pixels), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(normalise(jnp.asarray(pixels)), expected, rtol=1e-5, atol=1e-6)
