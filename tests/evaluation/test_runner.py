import dataclasses

import cv2
import numpy as np
import pytest

from asymtrack_jax.data.readers.folder import read_sequences
from asymtrack_jax.data.readers.text import read_boxes
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import report, runner
from asymtrack_jax.evaluation.protocols import PROTOCOLS
from asymtrack_jax.evaluation.runner import Run

NAMES = ["a", "b", "c"]


class FakeTracker:
    """Moves the box one pixel to the right a frame, and remembers what it was shown."""

    def __init__(self):
        self.inits, self.frames = [], []

    def init(self, frame, init_bbox):
        self.bbox = np.array(init_bbox)
        self.inits.append(init_bbox.tolist())

    def update(self, frame):
        self.bbox = self.bbox + np.array([1.0, 0, 0, 0])
        self.frames.append(frame)
        return self.bbox.copy(), 0.5


@pytest.fixture
def sequences(tmp_path):
    """Three sequences of four grey frames, as bright as their number; the target as the fake."""
    for offset, name in enumerate(NAMES):
        images = tmp_path / "data" / name / "img"
        images.mkdir(parents=True)
        for index in range(4):
            cv2.imwrite(str(images / f"{index}.png"), np.full((30, 40, 3), index, np.uint8))
        lines = [f"{5.5 + offset + index},6,10,12" for index in range(4)]
        (images.parent / "groundtruth.txt").write_text("\n".join(lines))
    (tmp_path / "results").mkdir()
    return read_sequences(tmp_path / "data")


@pytest.fixture
def output(sequences, tmp_path):
    return tmp_path / "results"


def test_each_sequence_starts_from_its_first_box_and_sees_every_frame_once(sequences):
    tracker, shown = FakeTracker(), []
    boxes, seconds = runner.run_sequence(tracker, sequences[1], lambda: shown.append(1))
    assert tracker.inits == [[6.5, 6, 10, 12]]
    assert [int(frame[0, 0, 0]) for frame in tracker.frames] == [1, 2, 3]
    np.testing.assert_array_equal(boxes, sequences[1].boxes)
    assert seconds.shape == (4,)
    assert (seconds >= 0).all()
    assert len(shown) == 4


def test_a_second_run_skips_what_is_finished_and_redoes_what_is_not(sequences, output):
    first = runner.run(FakeTracker(), sequences, output, floats=False)
    assert (first.finished, first.skipped, first.frames, first.exit_status) == (3, 0, 12, 0)
    assert first.wall_seconds > 0

    idle = FakeTracker()
    second = runner.run(idle, sequences, output, floats=False)
    assert (second.finished, second.skipped, second.exit_status) == (0, 3, 0)
    assert idle.inits == []

    result = output / "b.txt"
    whole = result.read_text()
    result.write_text(whole[: len(whole) // 2])
    third = runner.run(FakeTracker(), sequences, output, floats=False)
    assert (third.finished, third.skipped) == (1, 2)
    assert result.read_text() == whole


@pytest.mark.parametrize("damage", ["missing", "corrupt"])
def test_a_sequence_that_fails_does_not_stop_the_others(sequences, output, damage):
    frame = sequences[1].frames.paths[2]
    frame.unlink()
    if damage == "corrupt":
        frame.write_bytes(b"\x89PNG, but not really")
    outcome = runner.run(FakeTracker(), sequences, output, floats=False)
    assert (outcome.finished, outcome.exit_status) == (2, 1)
    assert list(outcome.failures) == ["b"]
    assert str(frame) in outcome.failures["b"]
    assert sorted(path.name for path in output.glob("?.txt")) == ["a.txt", "c.txt"]


@pytest.mark.parametrize("error", [InputError, FloatingPointError])
def test_a_sequence_the_tracker_refuses_is_recorded(sequences, output, error):
    class Refuses(FakeTracker):
        def init(self, frame, init_bbox):
            if init_bbox[0] == 6.5:
                raise error("not this one")
            super().init(frame, init_bbox)

    outcome = runner.run(Refuses(), sequences, output, floats=False)
    assert outcome.failures == {"b": "not this one"}
    assert outcome.finished == 2


def test_an_interruption_keeps_what_was_finished(sequences, output):
    class Interrupted(FakeTracker):
        def update(self, frame):
            if len(self.inits) == 3:  # the warm-up, a, b
                raise KeyboardInterrupt
            return super().update(frame)

    outcome = runner.run(Interrupted(), sequences, output, floats=False)
    assert (outcome.finished, outcome.interrupted, outcome.exit_status) == (1, True, 130)
    assert sorted(path.name for path in output.iterdir()) == ["a.txt", "a_time.txt"]
    again = runner.run(FakeTracker(), sequences, output, floats=False)
    assert (again.finished, again.skipped) == (2, 1)


def test_truncated_and_float_results_are_judged_as_written(sequences, output, tmp_path):
    scores = []
    for floats in (True, False):
        directory = tmp_path / str(floats)
        directory.mkdir()
        run = runner.run(FakeTracker(), sequences, directory, floats=floats)
        np.testing.assert_array_equal(
            read_boxes(directory / "a.txt")[:, 0], [5.5, 6.5, 7.5, 8.5] if floats else [5, 6, 7, 8]
        )
        judged = report.judge(directory, sequences, PROTOCOLS["lasot"])
        scores.append(report.render("folder", PROTOCOLS["lasot"], 3, judged, run))
    assert "lasot protocol: success AUC 95.24, precision 100.00, normalised pre" in scores[0]
    # The first frame's overlap is 1, the others' 9.5 / 10.5 = 0.905: 19 thresholds instead of 20.
    assert "lasot protocol: success AUC 91.67, precision 100.00, normalised pre" in scores[1]


def test_a_result_the_protocol_refuses_is_named(sequences, output):
    runner.run(FakeTracker(), sequences, output, floats=False)
    (output / "b.txt").write_text("6\t6\t10\t12\n")
    with pytest.raises(InputError, match=r"b\.txt: 1 predicted boxes for 4 frames"):
        report.judge(output, sequences, PROTOCOLS["lasot"])


def test_the_report_names_the_protocol_the_counts_the_rates_and_the_failures(sequences, output):
    runner.run(FakeTracker(), sequences[:2], output, floats=True)
    for name, seconds in [("a", 0.125), ("b", 0.5)]:
        (output / f"{name}_time.txt").write_text(f"{seconds}\n" * 4)
    judged = report.judge(output, sequences[:2], PROTOCOLS["otb"])
    run = Run(skipped=1, finished=1, failures={"c": "a broken frame"}, frames=4, wall_seconds=2.0)
    text = report.render("folder", PROTOCOLS["otb"], 3, judged, run)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines == [
        "sequence frames success AUC precision norm. precision frames/s",
        "a 4 95.24 100.00 100.00 8.0",
        "b 4 95.24 100.00 100.00 2.0",
        "folder: 2 of 3 sequences have a result",
        "otb protocol: success AUC 95.24, precision 100.00, normalised precision 100.00",
        "frames/s: 3.2 the tracker alone, 2.0 with images read and results written",
        "1 sequences finished now, 1 before",
        "failed: c: a broken frame",
    ]
    stopped = dataclasses.replace(run, interrupted=True)
    assert "interrupted" in report.render("folder", PROTOCOLS["otb"], 3, judged, stopped)
    (output / "a_time.txt").unlink()
    judged = report.judge(output, sequences[:1], PROTOCOLS["otb"])
    assert judged[0].tracker_seconds is None
    assert report.render("folder", PROTOCOLS["otb"], 3, judged, Run(skipped=1))


def test_a_run_without_any_result_is_reported(sequences, output):
    assert report.judge(output, [], PROTOCOLS["lasot"]) == []
    text = report.render("folder", PROTOCOLS["lasot"], 3, [], Run(skipped=0))
    assert text.startswith("folder: 0 of 3 sequences have a result\n")
