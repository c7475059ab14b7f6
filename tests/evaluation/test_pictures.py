import cv2
import numpy as np
import pytest

from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import pictures, report
from asymtrack_jax.evaluation.protocols import PROTOCOLS
from asymtrack_jax.evaluation.results import ResultFolder
from tests.evaluation.sequences import write_sequences


@pytest.fixture
def place(tmp_path):
    """Two sequences, results of a tracker that stands still, and a folder for pictures."""
    sequences = write_sequences(tmp_path / "data", {"a": 12, "b": 3})
    (tmp_path / "results").mkdir()
    for sequence in sequences:
        boxes = np.tile(sequence.boxes[0], (len(sequence.boxes), 1))
        np.savetxt(tmp_path / "results" / f"{sequence.name}.txt", boxes, delimiter=",")
    (tmp_path / "pictures").mkdir()
    return tmp_path, sequences


def compare(place, protocol="otb", attributes=None, labels=("still",)):
    root, sequences = place
    folders = [ResultFolder(label, root / "results") for label in labels]
    return report.compare("set", PROTOCOLS[protocol], folders, sequences, attributes=attributes)


def test_overlap_is_plotted_by_score_if_there_are_scores(place):
    root, sequences = place
    compared = compare(place)
    assert pictures.write_reliability(compared, sequences, root / "pictures") == {}
    np.savetxt(root / "results" / "a_score.txt", np.linspace(1, 0.3, 12))
    shown = pictures.write_reliability(compared, sequences, root / "pictures")
    assert shown == {"Overlap by score": "score.png"}
    assert {path.name for path in (root / "pictures").iterdir()} == {"score.png", "score.pdf"}


@pytest.mark.parametrize(
    ("protocol", "labels", "names"),
    [
        ("otb", ["still"], ["success", "precision", "norm_precision", "attributes"]),
        ("got10k", [str(number) for number in range(10)], ["success"]),
    ],
)
def test_every_curve_is_plotted_twice(place, protocol, labels, names):
    attributes = {"dark": {"a"}, "fast": {"a", "b"}} if "attributes" in names else None
    directory = place[0] / "pictures"
    shown = pictures.write_plots(compare(place, protocol, attributes, labels), directory)
    assert list(shown.values()) == [f"{name}.png" for name in names]
    written = {path.name for path in directory.iterdir()}
    assert written == {f"{name}.{kind}" for name in names for kind in ("png", "pdf")}
    for name in names:
        image = read(directory / f"{name}.png")
        assert image.shape[1] == 1024
        assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20
        assert (directory / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def read(path):
    image = cv2.imread(str(path))
    assert image is not None
    return image


def colour_count(image, rgb):
    return int((np.abs(image[..., ::-1].astype(int) - rgb).max(axis=-1) < 40).sum())


def test_the_contact_sheet_shows_both_boxes_on_the_worst_sequences(place):
    directory = place[0] / "pictures"
    compared = compare(place)
    assert report.worst(compared) == ["a", "b"]
    assert pictures.write_contact_sheet(compared, place[1], directory) == {
        "Lowest scores": "worst.png"
    }
    sheet = read(directory / "worst.png")
    assert sheet.shape == (40 + 2 * (26 + 200), 5 * 300, 3)
    first, last = sheet[66:266, :300], sheet[66:266, 1200:]
    # In the first frame the boxes are one; in the last they have parted by eleven pixels of forty.
    assert colour_count(first, (255, 140, 0)) > 200 > colour_count(first, (80, 230, 80))
    assert colour_count(last, (255, 140, 0)) > 200 < colour_count(last, (80, 230, 80))
    # The shorter sequence leaves the last two cells of its row white.
    assert (sheet[292:, 900:] == 255).all()


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
    window = pictures._window(600, 1000, np.array(around, float))
    np.testing.assert_allclose(window, expected, atol=1)


def test_a_contact_sheet_needs_the_images(place):
    (place[0] / "data" / "a" / "img" / "3.png").unlink()
    with pytest.raises(InputError, match="holds 11 images where 12 frames"):
        pictures.write_contact_sheet(compare(place), place[1], place[0] / "pictures")
