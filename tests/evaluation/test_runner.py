import numpy as np
import pytest

from asymtrack_jax.data.readers import folder
from asymtrack_jax.data.readers.text import read_boxes
from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import runner
from asymtrack_jax.evaluation.results import ResultFormat
from tests.evaluation.sequences import FakeSlots, write_sequences

FLOATS = ResultFormat(floats=True)


@pytest.fixture
def output(tmp_path):
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


@pytest.fixture
def sequences(tmp_path):
    return write_sequences(tmp_path / "data", {"a": 4, "b": 4, "c": 4})


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("workers", [1, 4])
def test_results_do_not_depend_on_slots_and_threads(tmp_path, output, count, workers):
    lengths = {"a": 2, "b": 9, "c": 1, "d": 5, "e": 5}
    sequences = write_sequences(tmp_path / "data", lengths)
    slots = FakeSlots(count)
    outcome = runner.run(slots, sequences, output, FLOATS, workers=workers)
    assert (outcome.finished, outcome.frames, outcome.exit_status) == (5, 22, 0)
    assert 0 <= outcome.waiting_seconds + outcome.tracker_seconds <= outcome.wall_seconds
    for sequence in sequences:
        boxes = read_boxes(output / f"{sequence.name}.txt")
        np.testing.assert_array_equal(boxes, sequence.boxes)
        scores = np.loadtxt(output / f"{sequence.name}_score.txt", ndmin=1)
        assert scores.tolist() == [1.0] + [0.5] * (len(boxes) - 1)
        times = output / f"{sequence.name}_time.txt"
        assert times.exists() == (count == 1)
        if count == 1:
            assert len(times.read_text().splitlines()) == len(boxes)


def test_a_slot_that_ends_is_taken_at_once_and_the_longest_go_first(tmp_path, output):
    sequences = write_sequences(tmp_path / "data", {"a": 2, "b": 6, "c": 3, "d": 4})
    slots = FakeSlots(2)
    runner.run(slots, sequences, output, FLOATS)
    # b (6.5) and d (8.5) begin, c (7.5) follows d, and a (5.5) follows whichever ends first.
    assert [x for _, x in slots.starts] == [6.5, 8.5, 7.5, 5.5]
    assert slots.steps == [
        {0: 1, 1: 1},
        {0: 2, 1: 2},
        {0: 3, 1: 3},
        {0: 4, 1: 1},
        {0: 5, 1: 2},
        {0: 1},
    ]


def test_a_second_run_skips_what_is_finished_and_redoes_what_is_not(sequences, output, capsys):
    first = runner.run(FakeSlots(), sequences, output, ResultFormat())
    assert capsys.readouterr().err.startswith("compiling")
    assert (first.finished, first.skipped, first.frames, first.exit_status) == (3, 0, 12, 0)
    assert first.wall_seconds > 0

    idle = FakeSlots()
    second = runner.run(idle, sequences, output, ResultFormat())
    assert (second.finished, second.skipped, second.exit_status) == (0, 3, 0)
    assert idle.starts == []
    assert "compiling" not in capsys.readouterr().err

    result = output / "b.txt"
    whole = result.read_text()
    result.write_text(whole[: len(whole) // 2])
    third = runner.run(FakeSlots(), sequences, output, ResultFormat())
    assert (third.finished, third.skipped) == (1, 2)
    assert result.read_text() == whole


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("missing", "holds 3 images where 4 frames are annotated"),
        ("corrupt", "2.png is not an image, or damaged"),
        ("annotation", "holds 4 images where 3 frames are annotated"),
    ],
)
def test_a_sequence_that_fails_does_not_stop_the_others(tmp_path, output, damage, reason, count):
    data = tmp_path / "data"
    sequences = write_sequences(data, {"a": 4, "b": 4, "c": 4})
    if damage == "missing":
        (data / "b" / "img" / "2.png").unlink()
    elif damage == "corrupt":
        (data / "b" / "img" / "2.png").write_bytes(b"\x89PNG, but not really")
    else:
        (data / "b" / "groundtruth.txt").write_text("6.5,6,10,12\n" * 3)
        sequences = folder.read_sequences(data)
    outcome = runner.run(FakeSlots(count), sequences, output, ResultFormat())
    assert (outcome.finished, outcome.exit_status) == (2, 1)
    assert list(outcome.failures) == ["b"]
    assert reason in outcome.failures["b"]
    assert sorted(path.name for path in output.glob("?.txt")) == ["a.txt", "c.txt"]


def test_a_sequence_the_tracker_refuses_is_recorded(sequences, output):
    class Refuses(FakeSlots):
        def start(self, slot, frame, init_bbox):
            if init_bbox[0] == 6.5:
                raise InputError("not this one")
            super().start(slot, frame, init_bbox)

    outcome = runner.run(Refuses(), sequences, output, ResultFormat())
    assert outcome.failures == {"b": "not this one"}
    assert outcome.finished == 2


def test_output_that_is_not_finite_fails_its_sequence(sequences, output):
    class Breaks(FakeSlots):
        def advance(self, frames):
            found = super().advance(frames)
            return {
                slot: (np.full(4, np.nan) if bbox[0] == 8.5 else bbox, score)
                for slot, (bbox, score) in found.items()
            }

    outcome = runner.run(Breaks(2), sequences[:2], output, ResultFormat())
    assert outcome.finished == 0
    assert outcome.failures.keys() == {"a", "b"}
    assert "are its weights sound?" in outcome.failures["a"]


def test_an_interruption_keeps_what_was_finished(sequences, output):
    class Interrupted(FakeSlots):
        def advance(self, frames):
            if len(self.starts) == 2:
                raise KeyboardInterrupt
            return super().advance(frames)

    outcome = runner.run(Interrupted(), sequences, output, ResultFormat())
    assert (outcome.finished, outcome.interrupted, outcome.exit_status) == (1, True, 130)
    assert sorted(path.name for path in output.iterdir()) == [
        "a.txt",
        "a_score.txt",
        "a_time.txt",
    ]
    again = runner.run(FakeSlots(), sequences, output, ResultFormat())
    assert (again.finished, again.skipped) == (2, 1)


def test_few_frames_are_held_at_a_time(output):
    """However long the sequence: those read ahead, and the one in hand."""

    class Counted:
        asked = 0

        def __len__(self):
            return 50

        def __getitem__(self, index):
            Counted.asked = max(Counted.asked, index + 1)
            return np.zeros((30, 40, 3), np.uint8)

    class Watches(FakeSlots):
        ahead = 0

        def advance(self, frames):
            self.ahead = max(self.ahead, Counted.asked - len(self.steps) - 1)
            return super().advance(frames)

    slots = Watches()
    boxes = np.tile([5.0, 5, 10, 10], (50, 1))
    runner.run(slots, [Sequence("a", Counted(), boxes)], output, FLOATS, workers=3)
    assert slots.ahead <= 8


def test_results_count_from_the_pixel_that_the_field_does(sequences, output):
    once = ResultFormat(origin=1)
    runner.run(FakeSlots(), sequences, output, once)
    boxes = read_boxes(output / "a.txt")
    np.testing.assert_array_equal(boxes, np.trunc(sequences[0].boxes + np.array([1, 1, 0, 0])))
    assert runner.run(FakeSlots(), sequences, output, once).skipped == 3
    with pytest.raises(InputError, match="a result on other data"):
        runner.run(FakeSlots(), sequences, output, ResultFormat())
