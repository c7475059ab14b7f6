import numpy as np
import pytest

from asymtrack_jax.evaluation import plots
from tests.evaluation.still import compare, make_place, read


@pytest.fixture
def place(tmp_path):
    return make_place(tmp_path)


def test_overlap_is_plotted_by_score_if_there_are_scores(place):
    root, sequences = place
    compared = compare(place)
    assert plots.write_reliability(compared, sequences, root / "pictures") == {}
    np.savetxt(root / "results" / "a_score.txt", np.linspace(1, 0.3, 12))
    shown = plots.write_reliability(compared, sequences, root / "pictures")
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
    shown = plots.write_plots(compare(place, protocol, attributes, labels), directory)
    assert list(shown.values()) == [f"{name}.png" for name in names]
    written = {path.name for path in directory.iterdir()}
    assert written == {f"{name}.{kind}" for name in names for kind in ("png", "pdf")}
    for name in names:
        image = read(directory / f"{name}.png")
        assert image.shape[1] == 1024
        assert len(np.unique(image.reshape(-1, 3), axis=0)) > 20
        assert (directory / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_dots_of_equal_trackers_do_not_hide_each_other(place):
    equal = compare(place, attributes={"dark": {"a"}}, labels=["one", "two", "three"])
    plots.write_plots(equal, place[0] / "pictures")
    image = read(place[0] / "pictures" / "attributes.png")[..., ::-1]
    for colour in plots.COLOURS[:3]:
        near = np.abs(image.astype(int) - list(bytes.fromhex(colour[1:]))).max(axis=-1) < 10
        columns = near.sum(axis=0)  # a dot is higher than its line's dots are wide
        assert near.sum() > 100
        assert columns.max() > 8
