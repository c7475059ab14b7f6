import numpy as np

from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.training.validation import first_sequences, mean_losses


class Rows:
    """A source of three videos and a still, whose frames say which row they are of."""

    name = "rows"
    offsets = np.array([0, 4, 5, 9, 12])
    boxes = np.arange(48, dtype=np.float32).reshape(12, 4)
    visible = np.array([0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 0, 0], bool)

    def read(self, row: int) -> Frame:
        return np.full((2, 2, 3), row, np.uint8)

    def frame_name(self, row: int) -> str:
        return f"row {row}"


def test_sequences_begin_where_the_target_shows():
    sequences = first_sequences(Rows(), 5, 3)
    assert [sequence.name for sequence in sequences] == ["row 1", "row 5"]
    first, second = sequences
    assert [first.frames[i][0, 0, 0] for i in range(len(first.frames))] == [1, 2, 3]
    assert [second.frames[i][0, 0, 0] for i in range(len(second.frames))] == [5, 6, 7]
    np.testing.assert_array_equal(first.boxes, Rows.boxes[1:4])
    assert first.visible is not None
    assert first.visible.tolist() == [True, True, False]
    assert len(first_sequences(Rows(), 1, 3)) == 1


def test_losses_are_means_over_batches():
    def eval_step(variables, batch):
        return None, {"iou": variables * batch, "total": -batch}

    assert mean_losses(eval_step, 2.0, [1.0, 3.0]) == {"iou": 4.0, "total": -2.0}  # pyright: ignore
