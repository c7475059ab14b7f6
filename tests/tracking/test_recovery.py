import numpy as np
import pytest

from asymtrack_jax import Tracker
from asymtrack_jax.data.synthetic import render_clip
from asymtrack_jax.errors import InputError
from asymtrack_jax.tracking import tracker as tracking
from asymtrack_jax.tracking.recovery import OFF, Recovery, Targets, choose_recovery
from asymtrack_jax.tracking.slots import BatchedSlots, ThreadedSlots

RULES = Recovery(threshold=0.3, patience=2, recover_threshold=0.6, growth=1.5, max_search_scale=2.0)
START = np.array([[10.0, 10, 20, 20]])


def box(x: float) -> np.ndarray:
    return np.array([[x, 10.0, 20, 20]])


def test_a_target_is_lost_searched_for_and_found():
    targets, seen = Targets.at(START), []
    for x, score in [(11, 0.9), (12, 0.2), (50, 0.2), (60, 0.5), (70, 0.1), (30, 0.6), (31, 0.3)]:
        targets = RULES.update(targets, box(x), np.array([score]))
        seen.append(
            (targets.bboxes[0, 0], bool(RULES.lost(targets)[0]), RULES.search_scale(targets)[0])
        )
    assert seen == [
        (11, False, 1),
        (12, False, 1),  # a low score, but followed
        (11, True, pytest.approx(1.5)),  # lost: the last confident box
        (11, True, pytest.approx(2)),  # enough before, not now
        (11, True, pytest.approx(2)),
        (30, False, 1),
        (31, False, 1),
    ]


def test_one_confident_frame_resets_the_count():
    targets = Targets.at(START)
    for score in [0.2, 0.3] * 5:
        targets = RULES.update(targets, box(20), np.array([score]))
        assert not RULES.lost(targets).any()


def test_each_target_is_lost_alone():
    targets = Targets.at(np.concatenate([START, START]))
    for _ in range(3):
        targets = RULES.update(targets, np.concatenate([box(5), box(7)]), np.array([0.9, 0.1]))
    assert RULES.lost(targets).tolist() == [False, True]
    assert targets.bboxes[:, 0].tolist() == [5, 10]


def test_a_search_that_lasts_for_ever_stays_as_wide():
    targets = Targets(START, START, np.array([10**9]))
    assert RULES.search_scale(targets)[0] == pytest.approx(2)
    assert Recovery(growth=1.0).search_scale(targets)[0] == 1


def test_off_believes_everything():
    targets = OFF.update(Targets.at(START), box(11), np.zeros(1))
    assert targets.bboxes[0, 0] == 11
    assert OFF.search_scale(targets).tolist() == [1.0]
    assert not OFF.lost(targets).any()


@pytest.mark.parametrize(
    "settings",
    [
        {"threshold": -0.1},
        {"threshold": 0.9, "recover_threshold": 0.5},
        {"recover_threshold": 1.1},
        {"threshold": float("nan")},
        {"patience": 0},
        {"growth": 0.9},
        {"max_search_scale": 0.5},
    ],
)
def test_rules_that_make_no_sense_are_refused(settings):
    with pytest.raises(InputError, match="recovery's"):
        Recovery(**settings)


def test_only_calibrated_scores_are_gone_by(model):
    assert choose_recovery(False, model) == OFF
    with pytest.raises(InputError, match="not calibrated"):
        choose_recovery(True, model)


CLIP = render_clip(9, (90, 120))
NEVER, SOON = (Recovery(threshold, 2, 1.0, 1.5, 3.0) for threshold in (1e-9, 0.5))


@pytest.fixture
def unsure(model, monkeypatch):
    """A model whose scores are next to nothing."""
    step = model.step

    def low(modulation, search):
        prediction = step(modulation, search)
        return prediction.replace(scores=1e-9 * prediction.scores)

    monkeypatch.setattr(model, "step", low)
    return model


def follow(tracker) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and whether they were lost, from the second frame on."""
    tracker.init(CLIP[0], CLIP.boxes[0])
    found = [(tracker.update(CLIP[index])[0], tracker.lost) for index in range(1, len(CLIP))]
    boxes, lost = zip(*found, strict=True)
    return np.stack(boxes), np.array(lost)


def test_the_tracker_freezes_the_box_and_widens_the_search(unsure, monkeypatch):
    factors, crop_square = [], tracking.crop_square

    def spy(frame, bbox, factor, size):
        factors.append(factor)
        return crop_square(frame, bbox, factor, size)

    monkeypatch.setattr(tracking, "crop_square", spy)
    boxes, lost = follow(Tracker(unsure, SOON))
    assert lost.tolist() == [False] + [True] * 7
    np.testing.assert_array_equal(boxes[1:], np.tile(CLIP.boxes[0], (7, 1)))
    expected = 4 * np.minimum(1.5 ** np.array([0, 0, 1, 2, 3, 4, 5, 6]), 3)
    np.testing.assert_allclose(factors, [2, *expected])


def test_a_target_that_is_never_lost_is_followed_bit_for_bit_as_without(model):
    boxes, lost = follow(Tracker(model))
    assert not lost.any()
    np.testing.assert_array_equal(follow(Tracker(model, NEVER))[0], boxes)


@pytest.mark.parametrize("kind", [BatchedSlots, ThreadedSlots])
def test_slots_recover_as_a_tracker_does(unsure, kind):
    expected, _ = follow(Tracker(unsure, SOON))
    slots = kind(unsure, 2, SOON)
    for slot in range(2):
        slots.start(slot, CLIP[0], CLIP.boxes[0])
    for index in range(1, len(CLIP)):
        for bbox, _ in slots.advance({0: CLIP[index], 1: CLIP[index]}).values():
            np.testing.assert_allclose(bbox, expected[index - 1], atol=0.01)


def test_lost_needs_a_target(model):
    with pytest.raises(InputError, match="call init"):
        _ = Tracker(model).lost
