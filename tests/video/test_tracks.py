import json

import numpy as np
import pytest

from asymtrack_jax.errors import InputError
from asymtrack_jax.video.tracks import Tracks, boxes_path, read_track, write_tracks

ONE = Tracks(
    3,
    np.arange(3),
    np.zeros(3, int),
    np.array([[1.5, 2, 3, 4], [2.25, 2, 3, 4], [3, 2, 3.125, 4]]),
    np.array([1, 0.5, 0.125]),
)
TWO = Tracks(  # the second comes and the first goes
    3,
    np.array([0, 1, 1, 2]),
    np.array([0, 0, 1, 1]),
    np.array([[1.0, 2, 3, 4], [2, 2, 3, 4], [5, 6, 7, 8], [6, 6, 7, 8]]),
    np.array([1, 0.125, 1, 0.75]),
)


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl", ".CSV"])
def test_what_is_written_reads_back(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_tracks(path, ONE)
    track = read_track(path)
    np.testing.assert_array_equal(track.bboxes, ONE.bboxes)
    np.testing.assert_array_equal(track.scores, ONE.scores)
    write_tracks(path, TWO)
    with pytest.raises(InputError, match="holds 2 targets where one is expected"):
        read_track(path)


def test_each_kind_says_what_it_holds(tmp_path):
    write_tracks(tmp_path / "a.csv", TWO)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == "frame,target,x,y,w,h,score,lost"
    assert lines[2] == "1,0,2.0000,2.0000,3.0000,4.0000,0.1250,1"
    write_tracks(tmp_path / "a.jsonl", TWO)
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[2]) == {
        **{"frame": 1, "target": 1, "x": 5, "y": 6, "w": 7, "h": 8, "score": 1, "lost": False}
    }
    write_tracks(tmp_path / "a.txt", TWO)
    table = np.loadtxt(tmp_path / "a.txt", delimiter=",").reshape(3, 2, 5)
    assert np.isnan(table[0, 1]).all()
    assert np.isnan(table[2, 0]).all()
    np.testing.assert_array_equal(table[1], [[2, 2, 3, 4, 0.125], [5, 6, 7, 8, 1]])
    with pytest.raises(InputError, match=r"must end in one of \.txt, \.csv, \.jsonl"):
        write_tracks(tmp_path / "a.xml", TWO)


def test_files_of_other_trackers_hold_boxes_alone(tmp_path):
    (tmp_path / "a.txt").write_text("1 2 3 4\n5\t6\t7\t8\n")
    track = read_track(tmp_path / "a.txt")
    np.testing.assert_array_equal(track.bboxes, [[1, 2, 3, 4], [5, 6, 7, 8]])
    assert track.scores is None
    (tmp_path / "a.txt").write_text("")
    assert read_track(tmp_path / "a.txt").bboxes.shape == (0, 4)


HEADER = "frame,target,x,y,w,h,score,lost\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "1,2,3,4,1\n1,2,3,4\n", "line 2: expected x,y,w,h,score"),
        ("a.txt", "1,2,3\n", "line 1: expected x,y,w,h"),
        ("a.csv", "x,y\n1,2\n", "expected a first line that names frame, target, x"),
        ("a.csv", "0,0,1,2,3,4,1,0\n", "expected a first line that names"),
        ("a.csv", HEADER + "0,0,1,2,3,4\n", "record 1: expected finite"),
        ("a.csv", HEADER + "0,0,1,2,inf,4,1,0\n", "record 1: expected finite"),
        ("a.csv", HEADER + "1,0,1,2,3,4,1,0\n", "frames must be 0, 1, 2"),
        ("a.jsonl", "[1]\n", "line 1: expected a JSON object"),
        ("a.jsonl", "[" * 10_000, "line 1: expected a JSON object"),
        ("a.jsonl", '{"frame": 0}\n', "record 1: expected finite"),
        ("a.jsonl", '{"frame": 0, "target": 0, "x": 1' + "0" * 400 + "}\n", "record 1: expected"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=rf"{name}.*{message}"):
        read_track(tmp_path / name)


def test_boxes_go_beside_the_video_unless_named(tmp_path):
    video = tmp_path / "out.mp4"
    assert boxes_path(video, None) == tmp_path / "out.txt"
    assert boxes_path(video, tmp_path / "b.csv") == tmp_path / "b.csv"
    for name in ("b.xml", "no/b.csv"):
        with pytest.raises(InputError, match=name):
            boxes_path(video, tmp_path / name)


@pytest.mark.parametrize("content", [b"1,2,3,4\n", b"notes", b"\xff\xfe", b"1,2,3,4,0.3\n"])
def test_a_file_that_nobody_named_is_not_replaced(tmp_path, content):
    path = tmp_path / "out.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"out\.txt would be replaced"):
        boxes_path(path.with_suffix(".mp4"), None)
    assert boxes_path(path.with_suffix(".mp4"), path) == path  # named
    write_tracks(path, TWO)
    assert boxes_path(path.with_suffix(".mp4"), None) == path  # of an earlier run
