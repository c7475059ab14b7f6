import numpy as np
import pytest

from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import report, sheet
from asymtrack_jax.evaluation.colours import COLOURS
from asymtrack_jax.evaluation.protocols import PROTOCOLS
from asymtrack_jax.evaluation.results import ResultFolder
from tests.evaluation.still import compare, make_place, read

FIRST, SECOND = (tuple(bytes.fromhex(colour[1:])) for colour in COLOURS[:2])


@pytest.fixture
def place(tmp_path):
    return make_place(tmp_path)


def colour_count(image, rgb):
    return int((np.abs(image[..., ::-1].astype(int) - rgb).max(axis=-1) < 40).sum())


def test_the_contact_sheet_shows_both_boxes_on_the_worst_sequences(place):
    directory = place[0] / "pictures"
    compared = compare(place)
    assert report.worst(compared) == ["a", "b"]
    assert sheet.write_contact_sheet(compared, place[1], directory) == {
        "Lowest scores": "worst.png"
    }
    image = read(directory / "worst.png")
    assert image.shape == (26 + 2 * (26 + 200), 5 * 300, 3)
    first, last = image[52:252, :300], image[52:252, 1200:]
    # In the first frame the boxes are one; in the last they have parted by eleven pixels of forty.
    assert colour_count(first, FIRST) > 200 > colour_count(first, (80, 230, 80))
    assert colour_count(last, FIRST) > 200 < colour_count(last, (80, 230, 80))
    # The shorter sequence leaves the last two cells of its row black.
    assert not image[278:, 900:].any()


def test_the_first_frame_is_the_annotation_as_protocols_have_it(place):
    """Truncation to integers once showed an overlap of 0.9 where trackers start."""
    compared = compare(place)
    shown = sheet.shown_boxes(compared.trackers[0], place[1][0])
    np.testing.assert_array_equal(shown[0], place[1][0].boxes[0])
    np.testing.assert_array_equal(shown[1], [5, 6, 10, 12])
    assert len(shown) == 12


def test_several_trackers_are_drawn_side_by_side_in_their_colours(place):
    root, sequences = place
    (root / "other").mkdir()
    for sequence in sequences:
        moved = sequence.boxes + np.array([12, 0, 0, 0])
        np.savetxt(root / "other" / f"{sequence.name}.txt", moved)
    folders = [ResultFolder("still", root / "results"), ResultFolder("ahead", root / "other")]
    compared = report.compare("set", PROTOCOLS["otb"], folders, sequences)
    sheet.write_contact_sheet(compared, sequences, root / "pictures")
    second = read(root / "pictures" / "worst.png")[52:252, 300:600]
    assert colour_count(second, FIRST) > 200 < colour_count(second, SECOND)


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        ([[500, 300, 20, 20]], (385, 227, 635, 393)),  # a quarter of the frame
        (
            [[500, 300, 20, 20], [600, 340, 60, 40]],
            (380, 206, 780, 474),
        ),  # both, with as much around
        ([[0, 0, 20, 20]], (0, 0, 250, 167)),  # moved into the frame
        ([[100, 100, 900, 500]], (0, 0, 1000, 600)),  # all of it
        ([[5000, 5000, 20, 20]], (750, 433, 1000, 600)),  # a box outside: the nearest corner
    ],
)
def test_cells_show_the_part_around_the_boxes(around, expected):
    window = sheet._window(600, 1000, np.array(around, float))
    np.testing.assert_allclose(window, expected, atol=1)


def test_a_contact_sheet_needs_the_images(place):
    (place[0] / "data" / "a" / "img" / "3.png").unlink()
    with pytest.raises(InputError, match="holds 11 images where 12 frames"):
        sheet.write_contact_sheet(compare(place), place[1], place[0] / "pictures")
