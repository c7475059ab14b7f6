import cv2
import jax
import numpy as np
import pytest

from asymtrack_jax import Tracker
from asymtrack_jax.errors import InputError
from asymtrack_jax.models.asymtrack import AsymTrack
from asymtrack_jax.models.fuse import fuse
from asymtrack_jax.tracking.model import Model
from asymtrack_jax.tracking.tracker import TrackerState, advance, start


def frame(height: int = 120, width: int = 160, seed: int = 0) -> np.ndarray:
    """Noise smooth enough to survive resizing."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return cv2.resize(noise, (width, height))


BBOX = [40.0, 30.0, 32.0, 24.0]


@pytest.fixture
def tracker(model) -> Tracker:
    tracker = Tracker(model)
    tracker.init(frame(), BBOX)
    return tracker


def boxes_of(tracker: Tracker, *seeds: int) -> np.ndarray:
    return np.stack([tracker.update(frame(seed=seed))[0] for seed in seeds])


def test_one_target(tracker):
    bbox, score = tracker.update(frame(seed=1))
    assert bbox.shape == (4,)
    assert bbox.dtype == np.float64
    assert isinstance(score, float)
    assert 0 < score <= 1


def test_what_the_caller_does_with_a_box_does_not_move_the_target(model, tracker):
    undisturbed = Tracker(model)
    undisturbed.init(frame(), BBOX)
    for seed in (1, 2):
        bbox, _ = tracker.update(frame(seed=seed))
        np.testing.assert_array_equal(bbox, undisturbed.update(frame(seed=seed))[0])
        bbox += 9


def test_several_targets_are_each_what_one_would_be(model):
    several = np.array([BBOX, [80.0, 50.0, 20.0, 30.0], [0.0, 0.0, 15.0, 15.0]])
    together = Tracker(model)
    together.init(frame(), several)
    alone = [Tracker(model) for _ in several]
    for tracker, bbox in zip(alone, several, strict=True):
        tracker.init(frame(), bbox)
    for seed in (1, 2):
        bboxes, scores = together.update(frame(seed=seed))
        assert bboxes.shape == (3, 4)
        assert scores.shape == (3,)
        for i, tracker in enumerate(alone):
            bbox, score = tracker.update(frame(seed=seed))
            np.testing.assert_allclose(bboxes[i], bbox, atol=1e-3)
            np.testing.assert_allclose(scores[i], score, rtol=1e-3)


def test_initialising_again_replaces_the_template(model, tracker):
    """The published tracker silently keeps the first one."""
    tracker.update(frame(seed=1))
    tracker.init(frame(seed=5), [90.0, 60.0, 30.0, 30.0])
    fresh = Tracker(model)
    fresh.init(frame(seed=5), [90.0, 60.0, 30.0, 30.0])
    np.testing.assert_array_equal(boxes_of(tracker, 6, 7), boxes_of(fresh, 6, 7))


def test_a_failed_init_leaves_the_target(model, tracker):
    with pytest.raises(InputError):
        tracker.init(frame(), [0, 0, -1, 5])
    undisturbed = Tracker(model)
    undisturbed.init(frame(), BBOX)
    np.testing.assert_array_equal(boxes_of(tracker, 1), boxes_of(undisturbed, 1))


def test_nothing_is_traced_again(monkeypatch, variables, model):
    """Not for a new template, video or frame size; once more for another number of targets."""
    traced = []

    def count(name):
        method = getattr(AsymTrack, name)

        def counted(*args, **kwargs):
            traced.append(name)
            return method(*args, **kwargs)

        monkeypatch.setattr(AsymTrack, name, counted)

    for name in ("init_template", "step"):
        count(name)
    tracker = Tracker(Model(model.config, fuse(variables)))
    for size in ((120, 160), (90, 200), (64, 48)):
        tracker.init(frame(*size), [10, 10, 20, 20])
        tracker.update(frame(*size, seed=1))
        tracker.update(frame(*size, seed=2))
    assert sorted(traced) == ["init_template", "step"]
    tracker.init(frame(), [BBOX, BBOX])
    tracker.update(frame(seed=1))
    assert sorted(traced) == ["init_template"] * 2 + ["step"] * 2


def test_a_view_of_a_bgr_frame_does(model, tracker):
    reversed_view = np.ascontiguousarray(frame(seed=1)[..., ::-1])[..., ::-1]
    other = Tracker(model)
    other.init(frame(), BBOX)
    np.testing.assert_array_equal(tracker.update(reversed_view)[0], boxes_of(other, 1)[0])


@pytest.mark.parametrize("size", [(60, 80), (300, 400), (16, 16), (8, 8), (1, 1)])
def test_a_frame_of_another_size_keeps_boxes_finite_and_in_reach(tracker, size):
    for seed in (1, 2, 3):
        (x, y, w, h), _ = tracker.update(np.full((*size, 3), seed * 40, np.uint8))
        assert np.isfinite([x, y, w, h]).all()
        assert w >= 10
        assert h >= 10
        assert x <= size[1]
        assert y <= size[0]


@pytest.mark.parametrize(
    "bad",
    [
        frame()[..., 0],
        frame()[..., :1],
        np.dstack([frame(), frame()[..., 0]]),
        frame().astype(np.float32) / 255,
        frame()[:0],
        None,
        [[0, 0, 0]],
    ],
    ids=["grey", "one channel", "RGBA", "float", "empty", "none", "list"],
)
def test_bad_frames_are_refused(model, tracker, bad):
    for use in (lambda: tracker.update(bad), lambda: tracker.init(bad, BBOX)):
        with pytest.raises(InputError, match="a frame must be a uint8 RGB array"):
            use()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([1, 2, 3], r"x, y, w, h or \[N, 4\]"),
        ([], r"x, y, w, h or \[N, 4\]"),
        (np.zeros((0, 4)), r"x, y, w, h or \[N, 4\]"),
        ("a box", "four numbers"),
        ([np.nan, 0, 10, 10], "finite"),
        ([0, 0, np.inf, 10], "finite"),
        ([10, 10, 0, 10], "at least 0.1 pixels"),
        ([10, 10, 10, -5], "at least 0.1 pixels"),
        ([10, 10, 1e-200, 1e-200], "at least 0.1 pixels"),
        ([10**400] * 4, "four numbers"),
        ([10 + 1j, 10, 10, 10], "four numbers"),
        (np.array([10 + 1j, 10, 10, 10]), "four numbers"),
        ([160, 10, 10, 10], "outside the frame of 160 x 120"),
        ([10, -20, 10, 20], "outside the frame of 160 x 120"),
        ([0, 0, 1000, 10], "twice the frame of 160 x 120"),
        ([BBOX, [0, 0, 0, 0]], "at least 0.1 pixels"),
    ],
)
def test_bad_boxes_are_refused(model, bad, message):
    with pytest.raises(InputError, match=message):
        Tracker(model).init(frame(), bad)


def test_update_needs_a_target(model):
    with pytest.raises(InputError, match="call init"):
        Tracker(model).update(frame())


OTHERS = [80.0, 50.0, 20.0, 30.0], [5.0, 8.0, 15.0, 15.0]


def assert_follows(tracker: Tracker, alone: dict[int, Tracker], seed: int) -> None:
    """That the next frame's boxes are those of a tracker for each target, by id."""
    assert tracker.ids == list(alone)
    bboxes, scores = tracker.update(frame(seed=seed))
    assert len(bboxes) == len(scores) == len(alone)
    for bbox, score, other in zip(bboxes, scores, alone.values(), strict=True):
        expected_bbox, expected_score = other.update(frame(seed=seed))
        np.testing.assert_allclose(bbox, expected_bbox, atol=1e-3)
        np.testing.assert_allclose(score, expected_score, rtol=1e-3)


def test_targets_come_and_go_without_touching_the_others(model):
    def one(seed: int, bbox: list[float]) -> Tracker:
        tracker = Tracker(model)
        tracker.init(frame(seed=seed), bbox)
        return tracker

    tracker, alone = Tracker(model), {}
    for target, bbox in enumerate((BBOX, *OTHERS)):
        assert tracker.add(frame(seed=target), bbox) == target
        alone[target] = one(target, bbox)
        assert_follows(tracker, alone, target + 1)
    tracker.remove(1)
    del alone[1]
    assert_follows(tracker, alone, 4)
    tracker.reinit(2, frame(seed=4), OTHERS[0])
    alone[2] = one(4, OTHERS[0])
    for target, bbox in enumerate((BBOX, OTHERS[1]), start=3):  # the second, to three
        assert tracker.add(frame(seed=4), bbox) == target
        alone[target] = one(4, bbox)
    assert_follows(tracker, alone, 5)
    for target in list(alone):
        tracker.remove(target)
    bboxes, scores = tracker.update(frame(seed=7))
    assert (bboxes.shape, scores.shape) == ((0, 4), (0,))
    assert tracker.add(frame(seed=7), BBOX) == 5
    tracker.init(frame(seed=7), BBOX)
    assert tracker.ids == [0]
    assert tracker.update(frame(seed=8))[0].shape == (4,)


def test_a_target_that_cannot_start_changes_nothing(tracker, model):
    undisturbed = Tracker(model)
    undisturbed.init(frame(), BBOX)
    for attempt in (
        lambda: tracker.add(frame(), [0, 0, -1, 5]),
        lambda: tracker.add(frame(), [BBOX]),
        lambda: tracker.reinit(0, frame(), [0, 0, -1, 5]),
        lambda: tracker.reinit(3, frame(), BBOX),
        lambda: tracker.remove(3),
    ):
        with pytest.raises(InputError):
            attempt()
    assert tracker.ids == [0]
    np.testing.assert_array_equal(boxes_of(tracker, 1), boxes_of(undisturbed, 1))


def test_one_target_more_seldom_compiles(model, monkeypatch):
    batches, step = [], model.step

    def count(modulation, search):
        batches.append(len(search))
        return step(modulation, search)

    monkeypatch.setattr(model, "step", count)
    tracker = Tracker(model)
    for seed in range(4):
        tracker.add(frame(), BBOX)
        tracker.update(frame(seed=seed))
    assert batches == [1, 2, 4, 4]


def test_the_state_is_a_pytree_of_arrays(model):
    state = start(model, frame(), np.array([BBOX, BBOX]))
    leaves = jax.tree.leaves(state)
    assert len(leaves) == 1 + len(jax.tree.leaves(state.modulation))
    assert all(isinstance(leaf, np.ndarray | jax.Array) for leaf in leaves)
    copied = jax.tree.map(lambda leaf: leaf.copy(), state)
    assert isinstance(copied, TrackerState)
    (found, _), (expected, _) = (advance(model, each, frame(seed=1)) for each in (copied, state))
    for leaves in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_array_equal(*leaves)


def test_a_tracker_says_what_it_follows(model, tracker):
    assert repr(Tracker(model)) == f"Tracker({model!r}, ids=[])"
    tracker.add(frame(), BBOX)
    assert repr(tracker).endswith("ids=[0, 1])")
