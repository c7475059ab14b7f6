import numpy as np
import pytest

from asymtrack_jax.data.synthetic import render_clip
from asymtrack_jax.errors import InputError


def test_frames_are_rgb_and_rendered_when_asked_for():
    clip = render_clip(100_000, size=(60, 80))
    assert len(clip) == 100_000
    assert clip[99_999].shape == (60, 80, 3)
    assert clip[-1].dtype == np.uint8
    np.testing.assert_array_equal(clip[-1], clip[99_999])
    with pytest.raises(IndexError):
        clip[100_000]


def test_a_seed_makes_one_clip_whatever_its_length():
    short, long, other = render_clip(5, seed=1), render_clip(9, seed=1), render_clip(5, seed=2)
    np.testing.assert_array_equal(short.boxes, long.boxes[:5])
    for a, b in zip(short, long, strict=False):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(short[0], other[0])


@pytest.mark.parametrize("seed", range(5))
def test_boxes_stay_in_the_frame_and_move_smoothly(seed):
    clip = render_clip(500, size=(120, 200), seed=seed)
    assert clip.boxes.dtype == np.float64
    assert (clip.boxes[:, :2] >= 0).all()
    assert (clip.boxes[:, :2] + clip.boxes[:, 2:] <= [200, 120]).all()
    relative = np.abs(np.diff(clip.boxes, axis=0)) / clip.boxes[1:, [2, 3, 2, 3]]
    assert 0.05 < relative.max() < 0.3
    assert clip.boxes[:, 2].max() > 1.4 * clip.boxes[:, 2].min()


@pytest.mark.parametrize("seed", [0, 1])
def test_boxes_are_exact(seed):
    clip = render_clip(200, size=(120, 160), seed=seed)
    clip._sprite[..., :3] = 255 * clip._sprite[..., 3:]  # the object white, the rest black
    clip._background[:] = 0
    gaps = []
    for frame, box in zip(clip, clip.boxes, strict=True):
        y, x = np.nonzero(frame[..., 0] >= 128)
        centres = np.array([x.min(), y.min(), x.max(), y.max()]) + 0.5
        low, high = box[:2], box[:2] + box[2:]
        gaps.append([*(centres[:2] - low), *(high - centres[2:])])
    # From an edge to the first pixel's centre it is 0 to 1, on average 0.5. A shift by half a pixel
    # would make opposite gaps differ by 1.
    mean = np.mean(gaps, axis=0)
    np.testing.assert_allclose(mean, 0.5, atol=0.25)
    np.testing.assert_allclose(mean[:2], mean[2:], atol=0.3)


def test_object_stands_out_from_the_background():
    clip = render_clip(1, seed=3)
    x, y, w, h = np.rint(clip.boxes[0]).astype(int)
    middle = clip[0][y + h // 4 : y + 3 * h // 4, x + w // 4 : x + 3 * w // 4]
    assert middle.std() > 30


@pytest.mark.parametrize(("frames", "size"), [(0, (240, 320)), (5, (31, 320)), (5, (320, 0))])
def test_refuses_what_cannot_be_rendered(frames, size):
    with pytest.raises(InputError, match="at least one frame"):
        render_clip(frames, size)
