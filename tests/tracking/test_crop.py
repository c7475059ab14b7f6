"""The way back to the frame against the published implementation."""

import numpy as np

from asymtrack_jax.boxes import clip_to_frame
from asymtrack_jax.data.crop import crop_square
from asymtrack_jax.tracking.crop import crop_to_frame
from tests import published

GOLDEN = published.golden("tracker")


def test_next_boxes_are_the_published_ones():
    height, width = GOLDEN["image_hw"]
    states = GOLDEN["state_xywh"]
    scales = [crop_square(GOLDEN["image"], state, 4.0, 256)[1] for state in states]
    mapped = crop_to_frame(GOLDEN["pred_cxcywh"], states, np.array(scales), 256)
    ours = clip_to_frame(mapped, int(height), int(width))
    np.testing.assert_allclose(ours, GOLDEN["next_state_xywh"], rtol=0, atol=1e-5)
