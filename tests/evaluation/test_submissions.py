import zipfile

import numpy as np
import pytest

from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import results
from asymtrack_jax.evaluation.results import ResultFolder
from asymtrack_jax.evaluation.submissions import write_submission

BOXES = np.array([[1.5, 2, 30, 40], [100, 3.25, 31, 41], [-5, 4, 32, 42.123456]])


def sequence(name):
    return Sequence(name, [np.zeros((1, 1, 3), np.uint8)] * 3, np.full((3, 4), np.nan))


SEQUENCES = [sequence("one"), sequence("two")]


@pytest.fixture
def folder(tmp_path):
    for each in SEQUENCES:
        results.write_result(
            tmp_path, each.name, BOXES, np.ones(3), np.full(3, 0.5), results.ResultFormat(True)
        )
    return ResultFolder("x", tmp_path)


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


LINES = "1.5,2,30,40\n100,3.25,31,41\n-5,4,32,42.1235\n"


def test_got10k_takes_a_folder_a_sequence(folder, tmp_path):
    write_submission(tmp_path / "x.zip", "GOT-10k", folder, SEQUENCES)
    times = "0.500000\n" * 3
    assert contents(tmp_path / "x.zip") == {
        "one/one_001.txt": LINES,
        "one/one_time.txt": times,
        "two/two_001.txt": LINES,
        "two/two_time.txt": times,
    }
    (tmp_path / "one_time.txt").unlink()
    write_submission(tmp_path / "x.zip", "GOT-10k", folder, SEQUENCES[:1])
    assert contents(tmp_path / "x.zip") == {"one/one_001.txt": LINES}


def test_trackingnet_takes_a_file_a_sequence(folder, tmp_path):
    write_submission(tmp_path / "x.zip", "TrackingNet", folder, SEQUENCES)
    assert contents(tmp_path / "x.zip") == {"one.txt": LINES, "two.txt": LINES}
    assert (tmp_path / "one.txt").exists()
    first = (tmp_path / "x.zip").read_bytes()
    write_submission(tmp_path / "x.zip", "TrackingNet", folder, SEQUENCES)
    assert (tmp_path / "x.zip").read_bytes() == first


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "two: there is no result in"),
        ("1,2,30,40\n" * 2, "two: 2 boxes for 3 frames"),
        ("1,2,30,40\n" * 4, "two: 4 boxes for 3 frames"),
        ("1,2,30,40\n1,2,0,40\n1,2,30,40\n", "two: the box of frame 1 is [1.0, 2.0, 0.0, 40.0]"),
        (
            "1,2,30,40\n1,2,30,40\nnan,nan,nan,nan\n",
            "two: the box of frame 2 is [nan, ",
        ),
        ("1,2,inf,40\n", "two.txt, line 1"),
    ],
)
@pytest.mark.parametrize("server", ["GOT-10k", "TrackingNet"])
def test_nothing_is_written_of_results_that_cannot_be_submitted(
    folder, tmp_path, text, reason, server
):
    if text is None:
        (tmp_path / "two.txt").unlink()
    else:
        (tmp_path / "two.txt").write_text(text)
    with pytest.raises(InputError, match=f"no archive for {server}: 1 results") as caught:
        write_submission(tmp_path / "x.zip", server, folder, SEQUENCES)
    assert reason in str(caught.value)
    assert not (tmp_path / "x.zip").exists()
