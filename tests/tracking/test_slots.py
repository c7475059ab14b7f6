import dataclasses

import jax
import numpy as np
import pytest

from asymtrack_jax import Tracker
from asymtrack_jax.data.synthetic import render_clip
from asymtrack_jax.errors import InputError
from asymtrack_jax.tracking.slots import BatchedSlots, ThreadedSlots, make_batch_tracker

KINDS = pytest.mark.parametrize("kind", [BatchedSlots, ThreadedSlots])
CLIPS = [render_clip(8, (90 + 8 * seed, 120), seed) for seed in range(4)]


def alone(model, clip):
    """What a tracker of its own makes of a clip."""
    tracker = Tracker(model)
    tracker.init(clip[0], clip.boxes[0])
    return [clip.boxes[0], *(tracker.update(clip[index])[0] for index in range(1, len(clip)))]


@pytest.mark.parametrize(("kind", "tolerance"), [(BatchedSlots, 0.01), (ThreadedSlots, 0)])
def test_videos_that_come_and_go_are_each_what_one_would_be(model, kind, tolerance):
    slots = kind(model, 3)
    found = {index: [clip.boxes[0]] for index, clip in enumerate(CLIPS)}
    active = {slot: slot for slot in range(3)}  # which clip is in which slot
    for slot, clip in active.items():
        slots.start(slot, CLIPS[clip][0], CLIPS[clip].boxes[0])
    for step in range(12):
        if step == 4:  # the fourth clip takes the slot of the second, half way
            active[1] = 3
            slots.start(1, CLIPS[3][0], CLIPS[3].boxes[0])
        frames = {
            slot: CLIPS[clip][len(found[clip])]
            for slot, clip in active.items()
            if len(found[clip]) < len(CLIPS[clip])
        }
        if not frames:
            break
        for slot, (bbox, score) in slots.advance(frames).items():
            found[active[slot]].append(bbox)
            assert 0 < score <= 1
    assert [len(boxes) for boxes in found.values()] == [8, 5, 8, 8]
    for index, boxes in found.items():
        expected = alone(model, CLIPS[index])[: len(boxes)]
        np.testing.assert_allclose(boxes, expected, rtol=0, atol=tolerance)


@KINDS
def test_one_slot_is_a_tracker(model, kind):
    slots, clip = kind(model, 1), CLIPS[0]
    for _ in range(2):  # and starts anew
        slots.start(0, clip[0], clip.boxes[0])
        boxes = [slots.advance({0: clip[index]})[0][0] for index in range(1, 4)]
        np.testing.assert_array_equal(boxes, alone(model, clip)[1:4])


@KINDS
def test_a_failed_start_leaves_the_slot(model, kind):
    slots, clip = kind(model, 1), CLIPS[0]
    slots.start(0, clip[0], clip.boxes[0])
    with pytest.raises(InputError, match=r"at least 0\.1"):
        slots.start(0, CLIPS[1][0], np.array([0.0, 0, -1, 5]))
    bbox, _ = slots.advance({0: clip[1]})[0]
    np.testing.assert_array_equal(bbox, alone(model, clip)[1])


@KINDS
def test_output_that_is_not_finite_is_nan_and_harms_no_other_slot(model, monkeypatch, kind):
    slots, clip = kind(model, 3), CLIPS[0]
    for slot in range(2):
        slots.start(slot, clip[0], clip.boxes[0])
    step, calls = model.step, []

    def broken(modulation, search):
        prediction = step(modulation, search)
        calls.append(1)
        if len(calls) > 1:
            return prediction
        return dataclasses.replace(prediction, boxes=prediction.boxes.at[0].set(np.nan))

    monkeypatch.setattr(model, "step", broken)
    found = slots.advance({0: clip[1], 1: clip[1]})
    assert sorted(np.isnan(bbox).all() for bbox, _ in found.values()) == [False, True]
    assert sorted(np.isfinite(bbox).all() for bbox, _ in found.values()) == [False, True]
    assert min(score for _, score in found.values()) == 0
    found = slots.advance({0: clip[2], 1: clip[2]})
    assert all(np.isfinite(bbox).all() for bbox, _ in found.values())


@KINDS
def test_bad_frames_are_refused(model, kind):
    slots, clip = kind(model, 1), CLIPS[0]
    slots.start(0, clip[0], clip.boxes[0])
    with pytest.raises(InputError, match="a frame must be a uint8 RGB array"):
        slots.advance({0: clip[0].astype(np.float32)})


def test_a_cpu_takes_threads_and_an_accelerator_batches(model, monkeypatch):
    for backend, kind in (("cpu", ThreadedSlots), ("gpu", BatchedSlots), ("tpu", BatchedSlots)):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        slots = make_batch_tracker(model, 2)
        assert isinstance(slots, kind)
        assert slots.count == 2
