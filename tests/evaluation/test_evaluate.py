"""The command, from a checkpoint on disk to the printed table."""

import contextlib
import dataclasses
import hashlib
import io
import json
import shutil
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest

import asymtrack_jax
import evaluate
from asymtrack_jax.config import VARIANTS
from asymtrack_jax.data.readers.text import read_boxes
from asymtrack_jax.errors import InputError
from asymtrack_jax.models import checkpoint


@dataclasses.dataclass
class Workplace:
    """A data set with a good and a broken sequence, two checkpoints, and a first run over them."""

    root: Path
    status: int = -1
    out: str = ""
    err: str = ""

    def command(self, *extra, data="data", weights="weights", output="results"):
        return [
            *("--dataset", "folder", "--data_dir", str(self.root / data)),
            *("--checkpoint", str(self.root / weights)),
            *("--output", str(self.root / output), *extra),
        ]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, variables):
    root = tmp_path_factory.mktemp("workplace")
    write_data(root / "data")
    frame = root / "data" / "broken" / "img" / "0001.jpg"
    frame.write_bytes(frame.read_bytes()[:1000])

    others = jax.tree.map(lambda leaf: leaf * 2, variables)
    checkpoint.save(root / "weights", VARIANTS["testing"], variables, {})
    checkpoint.save(root / "others", VARIANTS["testing"], others, {})

    place = Workplace(root)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        place.status = evaluate.main(place.command())
    place.out, place.err = out.getvalue(), err.getvalue()
    return place


def write_data(directory):
    rng = np.random.default_rng(0)
    for name in ("broken", "good"):
        images = directory / name / "img"
        images.mkdir(parents=True)
        for index in range(3):
            frame = rng.integers(0, 256, (90, 120, 3), np.uint8)
            cv2.imwrite(str(images / f"{index:04}.jpg"), frame)
        lines = ["40.5,30.5,20,16", "nan,nan,nan,nan", "42.5,30.5,20,16"]
        (images.parent / "groundtruth.txt").write_text("\n".join(lines))


def test_a_run_tracks_writes_and_prints(workplace):
    assert "lasot protocol: success AUC" in workplace.out
    assert "1 sequences finished now, 0 before" in workplace.out
    assert (
        "4/6" in workplace.err
    )  # the progress bar: all frames read but two of the broken sequence
    results = workplace.root / "results"
    boxes = read_boxes(results / "good.txt")
    assert boxes.shape == (3, 4)
    np.testing.assert_array_equal(boxes[0], [40, 30, 20, 16])
    np.testing.assert_array_equal(boxes, np.trunc(boxes))
    assert len((results / "good_time.txt").read_text().splitlines()) == 3


def test_a_corrupt_frame_fails_its_sequence_alone(workplace):
    assert workplace.status == 1
    assert "1 of 2 sequences have a result" in workplace.out
    frame = workplace.root / "data" / "broken" / "img" / "0001.jpg"
    assert f"failed: broken: frame {frame} breaks off" in workplace.out
    assert not (workplace.root / "results" / "broken.txt").exists()


def test_the_manifest_says_what_made_the_results(workplace):
    manifest = json.loads((workplace.root / "results" / "manifest.json").read_text())
    weights = (workplace.root / "weights" / "model.safetensors").read_bytes()
    assert manifest["checkpoint_sha256"] == hashlib.sha256(weights).hexdigest()
    assert manifest["dataset"] == "folder"
    assert manifest["protocol"] == "lasot"
    assert manifest["result_format"] == "int"
    assert manifest["options"]["data_dir"] == str(workplace.root / "data")
    assert manifest["versions"].keys() == {"python", "jax", "flax", "numpy", "opencv"}


def test_a_second_run_skips_what_is_finished(workplace, capsys):
    good = workplace.root / "finished_data"
    shutil.copytree(workplace.root / "data" / "good", good / "good")
    result = workplace.root / "results" / "good.txt"
    before = result.stat().st_mtime_ns
    command = workplace.command("--protocol", "lasot-legacy", data="finished_data")
    assert evaluate.main(command) == 0
    printed = capsys.readouterr().out
    assert "lasot-legacy protocol: success AUC" in printed
    assert "0 sequences finished now, 1 before" in printed
    assert result.stat().st_mtime_ns == before


def test_float_results_are_written_on_request(workplace, monkeypatch):
    class Drifts:
        def init(self, frame, init_bbox):
            pass

        def update(self, frame):
            return np.array([1.25, 2.5, 30.75, 40.0]), 0.5

    monkeypatch.setattr(asymtrack_jax, "Tracker", lambda model: Drifts())
    evaluate.main(workplace.command("--float-results", output="floats"))
    boxes = read_boxes(workplace.root / "floats" / "good.txt")
    np.testing.assert_array_equal(boxes, [[40.5, 30.5, 20, 16], *[[1.25, 2.5, 30.75, 40]] * 2])


def test_results_of_two_runs_are_never_mixed(workplace):
    with pytest.raises(InputError, match="checkpoint_sha256"):
        evaluate.main(workplace.command(weights="others"))
    with pytest.raises(InputError, match="result_format int, now float"):
        evaluate.main(workplace.command("--float-results"))


def test_a_missing_checkpoint_leaves_nothing_behind(workplace):
    with pytest.raises(InputError, match="no checkpoint at"):
        evaluate.main(workplace.command(weights="nowhere", output="unused"))
    assert not (workplace.root / "unused").exists()
