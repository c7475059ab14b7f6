import json

import numpy as np
import pytest

from asymtrack_jax.data.readers.text import read_boxes
from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import results
from asymtrack_jax.evaluation.results import ResultFolder, ResultFormat
from asymtrack_jax.video.tracks import Tracks, write_tracks

BOXES = np.array([[1.9, 2.0, 30.7, 40.2], [-3.9, 5.5, 31.0, 41.9999999]])
SECONDS, SCORES = np.array([0.5, 0.25]), np.array([1.0, 0.75])
MANIFEST = {
    "checkpoint_sha256": "a1",
    "dataset": "folder",
    "result_format": "int",
    "origin": 0,
}


def sequence(name="one", boxes=BOXES):
    frames = [np.zeros((1, 1, 3), np.uint8)] * len(boxes)
    return Sequence(name, frames, boxes)


def finished(directory, *sequences, floats=False):
    return [each.name for each in results.finished(directory, sequences, ResultFormat(floats))]


def test_boxes_are_truncated_to_integers_and_separated_by_tabs(tmp_path):
    results.write_result(tmp_path, "one", BOXES, SCORES, SECONDS, ResultFormat())
    assert (tmp_path / "one.txt").read_text() == "1\t2\t30\t40\n-3\t5\t31\t41\n"
    np.testing.assert_array_equal(results.read_seconds(tmp_path / "one.txt"), SECONDS)
    np.testing.assert_array_equal(ResultFolder("x", tmp_path).read_scores("one"), SCORES)
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["one.txt", "one_score.txt", "one_time.txt"]


def test_boxes_are_written_as_floats_on_request(tmp_path):
    results.write_result(tmp_path, "one", BOXES, SCORES, SECONDS, ResultFormat(True))
    np.testing.assert_allclose(read_boxes(tmp_path / "one.txt"), BOXES, atol=1e-6)


@pytest.mark.parametrize("floats", [False, True])
def test_a_result_with_one_line_a_frame_is_finished(tmp_path, floats):
    results.write_result(tmp_path, "one", BOXES, SCORES, SECONDS, ResultFormat(floats))
    others = [sequence("two"), sequence("three")]
    (tmp_path / "three.txt").write_text("1\t2\t30\t40\n")
    assert finished(tmp_path, sequence(), *others, floats=floats) == ["one"]
    (tmp_path / "one.txt").write_text("1\t2\t30\t40\n-3\t5\n")
    assert finished(tmp_path, sequence(), floats=floats) == []


def test_a_result_of_other_data_is_refused(tmp_path):
    results.write_result(tmp_path, "one", BOXES, SCORES, SECONDS, ResultFormat())
    with pytest.raises(InputError, match="a result on other data"):
        finished(tmp_path, sequence(boxes=BOXES + 1))


@pytest.mark.parametrize("names", [("a", "b", "a"), ("a", "a_time"), ("a", "a_score")])
def test_sequences_that_would_share_a_file_are_refused(tmp_path, names):
    with pytest.raises(InputError, match=r"sequences \['a'\] would overwrite others"):
        finished(tmp_path, *map(sequence, names))


@pytest.mark.parametrize("text", ["soon", "nan", "inf", "-1"])
def test_times_may_be_missing_but_not_damaged(tmp_path, text):
    assert results.read_seconds(tmp_path / "one.txt") is None
    (tmp_path / "one_time.txt").write_text(f"0.1\n{text}\n")
    with pytest.raises(InputError, match=r"one_time\.txt must hold"):
        results.read_seconds(tmp_path / "one.txt")


@pytest.mark.parametrize("text", ["nan", "inf", "-0.1", "1.1"])
def test_scores_must_be_from_0_to_1(tmp_path, text):
    folder = ResultFolder("x", tmp_path)
    assert folder.read_scores("one") is None
    (tmp_path / "one.txt").write_text("1,2,3,4\n1,2,3,4\n")
    assert folder.read_scores("one") is None
    (tmp_path / "one_score.txt").write_text(f"1\n{text}\n")
    with pytest.raises(InputError, match=r"scores of .*one\.txt must be numbers from 0 to 1"):
        folder.read_scores("one")


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".jsonl"])
def test_files_of_a_followed_video_are_results(tmp_path, suffix):
    tracks = Tracks(2, np.arange(2), np.zeros(2, int), BOXES, SCORES)
    write_tracks(tmp_path / f"one{suffix}", tracks)
    folder = ResultFolder("x", tmp_path)
    np.testing.assert_allclose(folder.read("one"), BOXES, atol=1e-4)
    np.testing.assert_array_equal(folder.read_scores("one"), SCORES)


def test_the_manifest_knows_the_origin(tmp_path):
    assert results.read_origin(tmp_path, 1) == 1  # of whoever wrote it, as the field does
    results.open_results_dir(tmp_path, MANIFEST | {"origin": 1})
    assert results.read_origin(tmp_path, 0) == 1
    with pytest.raises(InputError, match="origin 1, now 0"):
        results.open_results_dir(tmp_path, MANIFEST)
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace('"origin": 1', '"origin": 2'))
    with pytest.raises(InputError, match="origin 2; expected 0 or 1"):
        results.read_origin(tmp_path, 0)


def test_a_manifest_from_before_there_were_origins_means_0(tmp_path):
    old = {name: value for name, value in MANIFEST.items() if name != "origin"}
    (tmp_path / "manifest.json").write_text(json.dumps(old))
    assert results.read_origin(tmp_path, 1) == 0
    results.open_results_dir(tmp_path, MANIFEST)


def test_a_folder_keeps_the_manifest_of_its_first_run(tmp_path):
    results.open_results_dir(tmp_path / "new", MANIFEST | {"protocol": "lasot"})
    results.open_results_dir(tmp_path / "new", MANIFEST | {"protocol": "otb"})
    manifest = json.loads((tmp_path / "new" / "manifest.json").read_text())
    assert manifest["protocol"] == "lasot"


@pytest.mark.parametrize(
    "other", [{"checkpoint_sha256": "b2"}, {"dataset": "lasot"}, {"result_format": "float"}]
)
def test_a_folder_refuses_results_of_another_run(tmp_path, other):
    results.open_results_dir(tmp_path, MANIFEST)
    ((name, value),) = other.items()
    with pytest.raises(InputError, match=f"{name} {MANIFEST[name]}, now {value}"):
        results.open_results_dir(tmp_path, MANIFEST | other)


def test_a_folder_of_unknown_origin_is_refused(tmp_path):
    (tmp_path / "one.txt").touch()
    with pytest.raises(InputError, match=r"no manifest\.json"):
        results.open_results_dir(tmp_path, MANIFEST)
    with pytest.raises(InputError, match="is a file"):
        results.open_results_dir(tmp_path / "one.txt", MANIFEST)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_manifest_is_refused(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest\.json is"):
        results.open_results_dir(tmp_path, MANIFEST)
