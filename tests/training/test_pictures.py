import numpy as np
import pytest

from asymtrack_jax.data.augment import Batch
from asymtrack_jax.training.pictures import draw_pairs
from asymtrack_jax.video.drawing import TRUE_COLOUR

GREEN, ORANGE = TRUE_COLOUR, (255, 140, 0)
GAP = 12


def grey_batch(num: int, template: int, search: int) -> Batch:
    return Batch(
        np.full((num, template, template, 3), 90, np.uint8),
        np.full((num, search, search, 3), 120, np.uint8),
        np.tile(np.array([0.25, 0.5, 0.25, 0.125], np.float32), (num, 1)),
    )


def extent(image: np.ndarray, colour: tuple[int, int, int]) -> list[int]:
    """Left, top, right and bottom of the pixels of a colour."""
    rows, columns = np.nonzero((image == colour).all(-1))
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


@pytest.mark.parametrize(("template", "search"), [(128, 256), (64, 128)])
def test_boxes_are_where_they_should_be(template: int, search: int):
    """Both sizes are shown alike, the smaller one enlarged."""
    predicted = np.array([[0.75, 0.25, 0.25, 0.125]], np.float32)
    image = draw_pairs(grey_batch(1, template, search), predicted)
    assert image.shape == (256 + 2 * GAP, 128 + 256 + 3 * GAP, 3)
    np.testing.assert_array_equal(image[GAP : GAP + 128, GAP : GAP + 128], 90)
    crop = image[GAP : GAP + 256, 2 * GAP + 128 : 2 * GAP + 128 + 256]
    assert np.abs(np.subtract(extent(crop, GREEN), [64, 128, 128, 160])).max() <= 1
    assert np.abs(np.subtract(extent(crop, ORANGE), [160, 48, 224, 80])).max() <= 1
    assert (crop[164:] == 120).all()


def test_the_legend_tells_the_overlap():
    right, wrong = np.array([[0.375, 0.5625, 0.25, 0.125]]), np.array([[0.9, 0.1, 0.1, 0.1]])
    images = [draw_pairs(grey_batch(1, 128, 256), box)[:, : GAP + 128] for box in (right, wrong)]
    assert (images[0] != images[1]).any()


def test_at_most_so_many_pairs_two_in_a_row():
    batch, predicted = grey_batch(7, 64, 128), np.full((7, 4), 0.5, np.float32)
    tile = (256 + GAP, 128 + 256 + 2 * GAP)
    for num, rows, columns in ((1, 1, 1), (2, 1, 2), (3, 2, 2), (8, 4, 2)):
        image = draw_pairs(batch, predicted, num)
        assert image.shape == (GAP + rows * tile[0], GAP + columns * tile[1], 3)


def test_wild_predictions_can_be_drawn():
    wild = np.array([[1e9, -1e9, 5, 5], [0.5, 0.5, -0.3, -0.2], [0, 0, 1e9, 0]], np.float32)
    assert draw_pairs(grey_batch(3, 64, 128), wild).any()
