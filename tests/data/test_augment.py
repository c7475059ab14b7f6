"""Training pairs: geometry against the published numbers, and what the augmentation does."""

import cv2
import numpy as np
import pytest

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.data.augment import (
    TRAINING,
    Augmentation,
    Pair,
    box_in_crop,
    flip_in_frame,
    jittered_box,
    make_pair,
)
from asymtrack_jax.data.crop import crop_square
from tests import published

GOLDEN = published.golden("train_geometry")
IMAGE = published.golden("tracker")["image"]
CONFIG = VARIANTS["testing"]
FIXED = Augmentation(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
FRAME = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
BOX = np.array([40.0, 30.0, 20.0, 12.0])


def made(rng, template, search, augmentation) -> Pair:
    pair = make_pair(rng, template, search, CONFIG, augmentation)
    assert pair is not None
    return pair


def test_boxes_and_crops_are_the_published_ones():
    boxes = zip(GOLDEN["gt_xywh"], GOLDEN["extract_xywh"], strict=True)
    for number, (box, around) in enumerate(boxes):
        crop, scale = crop_square(IMAGE, around, 4.0, 64)
        assert crop.mean() == pytest.approx(GOLDEN["crops_mean"][number], rel=1e-12)
        ours = box_in_crop(box, around, scale, 64)
        np.testing.assert_allclose(ours, GOLDEN["box_in_crop_xywh"][number], rtol=0, atol=1e-6)


def test_without_augmentation_a_pair_is_two_plain_crops():
    pair = made(np.random.default_rng(0), (FRAME, BOX), (FRAME, BOX), FIXED)
    np.testing.assert_array_equal(pair.template, crop_square(FRAME, BOX, 2.0, 64)[0])
    np.testing.assert_array_equal(pair.search, crop_square(FRAME, BOX, 4.0, 128)[0])
    assert pair.box.dtype == np.float32
    np.testing.assert_allclose(pair.box[:2] + pair.box[2:] / 2, 127 / 256)


def test_the_joint_flip_and_grey_come_before_the_crop():
    augmentation = Augmentation(0.0, 0.0, 1.0, 1.0, 0.0, 0.0)
    at_the_edge = np.array([100.0, 30.0, 20.0, 12.0])
    frames = (FRAME, BOX), (FRAME, at_the_edge)
    pair = made(np.random.default_rng(0), *frames, augmentation)
    grey = np.repeat(cv2.cvtColor(FRAME, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    mirrored = np.ascontiguousarray(grey[:, ::-1])
    expected = crop_square(mirrored, flip_in_frame(BOX, 120), 2.0, 64)[0]
    np.testing.assert_array_equal(pair.template, expected)
    expected = crop_square(mirrored, np.array([-1.0, 30.0, 20.0, 12.0]), 4.0, 128)[0]
    np.testing.assert_array_equal(pair.search, expected)


@pytest.mark.parametrize("seed", range(12))
def test_the_box_stays_on_the_target(seed):
    x, y, w, h = 150, 90, 40, 28
    frame = np.zeros((240, 320, 3), np.uint8)
    frame[y : y + h, x : x + w] = 150
    box = np.array([x, y, w, h], np.float64)
    pair = made(np.random.default_rng(seed), (frame, box), (frame, box), TRAINING)
    rows, columns = np.nonzero(pair.search[..., 0] > 50)
    low = np.array([columns.min(), rows.min()]) / 128
    high = np.array([columns.max() + 1, rows.max() + 1]) / 128
    inside = np.clip(pair.box[:2], 0, 1), np.clip(pair.box[:2] + pair.box[2:], 0, 1)
    np.testing.assert_allclose([low, high], inside, atol=3 / 128)


def test_each_crop_is_brightened_and_mirrored_alone():
    augmentation = Augmentation(0.0, 0.0, 0.0, 0.0, 0.2, 0.5)
    frame = np.full((240, 320, 3), 100, np.uint8)
    frame[:, 160:] = 200
    box = np.array([140.0, 100.0, 40.0, 40.0])
    gains, flips, clipped = [], [], []
    for seed in range(200):
        pair = made(np.random.default_rng(seed), (frame, box), (frame, box), augmentation)
        edges = [(int(crop[0, 0, 0]), int(crop[0, -1, 0])) for crop in pair[:2]]
        gains.append([min(edge) / 100 for edge in edges])
        clipped.append([max(edge) for edge in edges])
        flips.append([left > right for left, right in edges])
        np.testing.assert_allclose(pair.box[0] + pair.box[2] / 2, 0.5, atol=1 / 128)
    gains, flips = np.array(gains), np.array(flips)
    np.testing.assert_allclose(np.array(clipped), 200 * gains, atol=1.01)
    np.testing.assert_allclose([gains.min(), gains.max()], [0.8, 1.2], atol=0.02)
    assert abs(np.corrcoef(gains.T)[0, 1]) < 0.25
    combinations = np.bincount(flips @ [1, 2], minlength=4)
    assert (combinations > 30).all()


def test_joint_choices_have_the_published_odds():
    rng = np.random.default_rng(0)
    frame = FRAME.copy()
    frame[:, :40], frame[:, 80:] = (250, 20, 20), (20, 250, 20)  # red at the left, green right
    greys, flips = [], []
    for _ in range(1500):
        box = np.array([35.0, 35.0, 50.0, 20.0])
        augmentation = Augmentation(0.0, 0.0, TRAINING.joint_grey, TRAINING.joint_flip, 0.0, 0.0)
        pair = made(rng, (frame, box), (frame, box), augmentation)
        left, right = pair.template[32, 1].astype(int), pair.template[32, -2].astype(int)
        greys.append(np.ptp(left) == 0)
        flips.append(left[1] > left[0])
        assert (np.ptp(pair.search[64, 30]) == 0) == greys[-1]
        assert greys[-1] or flips[-1] == (right[0] > right[1])
    assert np.mean(greys) == pytest.approx(0.05, abs=0.02)
    assert np.mean(np.array(flips)[~np.array(greys)]) == pytest.approx(0.5, abs=0.05)


def test_jitter_is_the_published_one():
    rng = np.random.default_rng(0)
    boxes = np.array([jittered_box(rng, BOX, 3.5, 0.5) for _ in range(4000)])
    scale = np.log(boxes[:, 2:] / BOX[2:])
    offset = boxes[:, :2] + boxes[:, 2:] / 2 - (BOX[:2] + BOX[2:] / 2)
    offset /= np.sqrt(boxes[:, 2:].prod(axis=1, keepdims=True))
    np.testing.assert_allclose(scale.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(scale.std(axis=0), 0.5, atol=0.02)
    np.testing.assert_allclose(np.abs(offset).max(axis=0), 1.75, atol=0.01)
    np.testing.assert_allclose(offset.std(axis=0), 3.5 / np.sqrt(12), atol=0.03)
    np.testing.assert_array_equal(jittered_box(rng, BOX, 0.0, 0.0), BOX)


def test_one_seed_makes_one_pair():
    pairs = [
        made(np.random.default_rng(seed), (FRAME, BOX), (FRAME, BOX), TRAINING)
        for seed in (1, 1, 2)
    ]
    for first, second in zip(pairs[0], pairs[1], strict=True):
        np.testing.assert_array_equal(first, second)
    assert not np.array_equal(pairs[0].search, pairs[2].search)


@pytest.mark.parametrize("x", [-300.0, 119.0, 500.0])
def test_crops_beside_the_frame_make_no_pair(x):
    outside = np.array([x, 30.0, 2.0, 2.0])
    first, second = (FRAME, BOX), (FRAME, outside)
    rng = np.random.default_rng(0)
    orders = (first, second), (second, first)
    shown = [make_pair(rng, *order, CONFIG, FIXED) for order in orders]
    assert [pair is None for pair in shown] == ([False] * 2 if x == 119.0 else [True] * 2)
