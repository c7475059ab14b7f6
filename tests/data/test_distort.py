"""Changes beyond the published augmentation: each by itself, and that none is on by default."""

import dataclasses

import cv2
import numpy as np
import pytest

from asymtrack_jax.config import VARIANTS, Augmentation
from asymtrack_jax.data import distort
from asymtrack_jax.data.augment import make_pair

CONFIG = VARIANTS["testing"]
NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
BOX = np.array([0.3, 0.4, 0.25, 0.2])
PLAIN = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
OPTIONS = {
    "template_scale_jitter": 0.3,
    "template_centre_jitter": 0.5,
    "rotation": 20.0,
    "shear": 0.3,
    "occlusion": 1.0,
    "distractor": 1.0,
    "colour_jitter": 0.5,
    "motion_blur": 1.0,
    "jpeg": 1.0,
    "low_resolution": 1.0,
}


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_every_option_beyond_the_published_ones_is_off_by_default():
    published = dataclasses.asdict(Augmentation())
    assert {name: published[name] for name in OPTIONS} == dict.fromkeys(OPTIONS, 0.0)
    assert len(published) == 6 + len(OPTIONS)


@pytest.mark.parametrize("name", OPTIONS)
def test_each_option_changes_a_pair_and_only_when_it_is_on(name, monkeypatch):
    frame = cv2.resize(NOISE, (240, 200))
    box = np.array([90.0, 70.0, 40.0, 30.0])

    def made(augmentation: Augmentation):
        pair = make_pair(generator(), (frame, box), (frame, box), CONFIG, augmentation)
        assert pair is not None
        return pair

    plain, changed = made(PLAIN), made(dataclasses.replace(PLAIN, **{name: OPTIONS[name]}))
    same = [np.array_equal(one, other) for one, other in zip(plain[:2], changed[:2], strict=True)]
    of_template = name.startswith("template")
    assert same == [
        not of_template and name in ("rotation", "shear", "occlusion", "distractor"),
        of_template,
    ]
    boxes_move = name in ("rotation", "shear")
    assert np.allclose(plain.box, changed.box, atol=1e-6) == (not boxes_move)


def test_the_published_pairs_take_no_chance_for_the_options():
    """The generator is left where the six published choices leave it."""
    rng, expected = generator(), generator()
    frame = cv2.resize(NOISE, (240, 200))
    box = np.array([90.0, 70.0, 40.0, 30.0])
    make_pair(rng, (frame, box), (frame, box), CONFIG, Augmentation())
    expected.random(2)  # grey, flip
    expected.standard_normal(2)  # jitter
    expected.random(2)
    expected.uniform(size=2)  # brightness
    expected.random(2)  # flips
    assert rng.random() == expected.random()


def test_recolouring_by_nothing_changes_nothing_and_by_something_keeps_grey_nearly_grey():
    np.testing.assert_array_equal(distort.jitter_colours(generator(), NOISE, 0.0), NOISE)
    grey = np.full((8, 8, 3), 100, np.uint8)
    levels = np.array(
        [distort.jitter_colours(generator(seed), grey, 0.3)[0, 0] for seed in range(200)]
    )
    assert levels.min() >= 88
    assert levels.max() <= 112
    assert np.ptp(levels.astype(int), axis=1).max() > 8


def test_contrast_and_saturation_go_as_far_as_said():
    image = np.full((2, 2, 3), 100, np.uint8)
    image[0, :, 0], image[1, :, 0] = 80, 120
    spread = [
        np.ptp(distort.jitter_colours(generator(seed), image, 0.5)[:, 0, 0].astype(int))
        for seed in range(400)
    ]
    # Red differs by 40 levels, 12 of which are a difference of lightness.
    least, most = 0.5 * (0.5 * 40 + 0.5 * 12), 1.5 * (1.5 * 40 - 0.5 * 12)
    assert least * 5 / 6 - 1 <= min(spread) < 1.3 * least
    assert 0.8 * most < max(spread) <= most * 7 / 6 + 1


def test_smearing_spreads_a_point_along_a_line_and_keeps_its_light():
    point = np.zeros((100, 100, 3), np.uint8)
    point[50, 50] = 240
    longest = 0
    for seed in range(50):
        smeared = distort.motion_blur(generator(seed), point)
        assert int(smeared[..., 0].sum()) == pytest.approx(240, abs=8)
        longest = max(longest, np.ptp(np.nonzero(smeared[..., 0])[1]))
    assert longest == pytest.approx(0.05 * 100, abs=1)


def test_compressing_leaves_the_picture():
    smooth = cv2.GaussianBlur(NOISE, (0, 0), 6)
    compressed = distort.compress_jpeg(generator(), smooth)
    assert not np.array_equal(compressed, smooth)
    assert np.abs(compressed.astype(int) - smooth).mean() < 8


def test_a_pair_loses_resolution_alike():
    factors = [distort.draw_reduction(generator(seed)) for seed in range(100)]
    assert 1.5 <= min(factors) < 1.6
    assert 3.8 < max(factors) <= 4.0
    waves = np.tile(np.arange(64)[:, None] % 8 < 4, (1, 64)).astype(np.uint8)[..., None] * [
        [200] * 3
    ]
    spread = [
        np.std(distort.reduce_resolution(waves.astype(np.uint8), factor))
        for factor in (1.0, 2.0, 4.0)
    ]
    np.testing.assert_allclose(spread[0], 100)
    assert spread[0] > spread[1] > spread[2]


@pytest.mark.parametrize("seed", range(8))
def test_the_box_of_an_oval_follows_it_when_the_frame_turns(seed):
    frame = np.zeros((300, 300, 3), np.uint8)
    cv2.ellipse(frame, (150, 150), (60, 25), 0, 0, 360, (255, 255, 255), -1)
    box = np.array([90.0, 125.0, 121.0, 51.0])
    moved, turned = distort.rotate(generator(seed), frame, box, 25.0, 0.2)
    y, x = np.nonzero(moved[..., 0] > 127)
    extent = [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
    np.testing.assert_allclose(turned, extent, atol=2.0)
    np.testing.assert_array_equal(distort.rotate(generator(seed), frame, box, 0.0, 0.0)[0], frame)


def test_a_cover_hides_a_part_of_the_target_and_nothing_else():
    crop = np.zeros((64, 64, 3), np.uint8)
    crop[26:38, 20:36] = 200
    hidden = []
    for seed in range(60):
        changed = distort.occlude(generator(seed), crop, np.array([20, 26, 16, 12]) / 64) != crop
        assert not changed[:26].any()
        assert not changed[38:].any()
        assert not changed[:, :20].any()
        assert not changed[:, 36:].any()
        hidden.append(changed[..., 0].sum() / (16 * 12))
    assert max(hidden) <= 0.51
    assert np.mean(np.array(hidden) > 0.1) > 0.5


def test_a_look_alike_is_beside_the_target():
    crop = np.zeros((64, 64, 3), np.uint8)
    crop[26:38, 20:36] = (200, 150, 100)
    added = 0
    for seed in range(40):
        pasted = distort.add_distractor(generator(seed), crop, np.array([20, 26, 16, 12]) / 64)
        changed = (pasted != crop).any(axis=-1)
        assert changed[26:38, 20:36].mean() <= 0.16
        added += changed.sum() > 0.3 * 16 * 12
    assert added > 35


@pytest.mark.parametrize("change", [distort.occlude, distort.add_distractor])
@pytest.mark.parametrize("box", [[0.95, 0.4, 0.2, 0.2], [0.4, 0.4, 0.01, 0.2], [2, 2, 0.2, 0.2]])
def test_without_a_target_in_the_crop_nothing_is_covered_or_copied(change, box):
    np.testing.assert_array_equal(change(generator(), NOISE, np.array(box)), NOISE)


def test_a_target_as_large_as_the_crop_leaves_no_room_for_another():
    whole = np.array([0.0, 0.0, 1.0, 1.0])
    np.testing.assert_array_equal(distort.add_distractor(generator(1), NOISE, whole), NOISE)


@pytest.mark.parametrize("change", [distort.occlude, distort.add_distractor])
def test_the_crop_given_is_left_as_it_was(change):
    crop = NOISE.copy()
    change(generator(), crop, BOX)
    np.testing.assert_array_equal(crop, NOISE)
