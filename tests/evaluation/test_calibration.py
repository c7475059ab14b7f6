import json

import numpy as np
import pytest

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import calibration, results
from asymtrack_jax.evaluation.reliability import ScoredFrames
from asymtrack_jax.models import checkpoint
from asymtrack_jax.tracking.calibration import Calibration, read_calibration
from tests.evaluation.sequences import write_sequences


def test_the_fit_finds_the_map_behind_the_overlaps():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.05, 0.95, 20_000)
    expected = Calibration(1.7, -0.6)(scores)
    hits = rng.uniform(size=len(scores)) < expected
    for overlaps, tolerance in ((expected, 1e-3), (hits.astype(float), 0.1)):
        found = calibration.fit(ScoredFrames(scores, overlaps))
        assert found.slope == pytest.approx(1.7, abs=tolerance)
        assert found.offset == pytest.approx(-0.6, abs=tolerance)


def test_scores_that_are_all_alike_or_perfect_give_finite_numbers():
    for scores, overlaps in (([0.9] * 5, [0.8] * 5), ([0.1, 0.9], [0, 1])):
        found = calibration.fit(ScoredFrames(np.array(scores), np.array(overlaps, float)))
        assert np.isfinite([found.slope, found.offset]).all()


@pytest.mark.parametrize(
    ("scores", "overlaps", "message"),
    [
        ([], [], "are the results of these sequences"),
        ([0.1, 0.9], [0.9, 0.1], "does not rise with the score"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(scores, overlaps, message):
    scores, overlaps = np.array(scores, float), np.array(overlaps, float)
    with pytest.raises(InputError, match=message):
        calibration.fit(ScoredFrames(scores, overlaps))


def test_the_command_writes_a_calibrated_copy(tmp_path, variables, capsys):
    sequences = write_sequences(tmp_path / "data", {"a": 6})
    checkpoint.save(tmp_path / "c", VARIANTS["testing"], variables, {"step": 3})
    boxes = sequences[0].boxes.copy()
    boxes[3:, 0] += 100
    directory = tmp_path / "results" / "boxes"
    directory.mkdir(parents=True)
    scores = np.array([1, 0.6, 0.7, 0.5, 0.4, 0.3])
    results.write_result(directory, "a", boxes, scores, None, results.ResultFormat(True))
    manifest = {"checkpoint_sha256": checkpoint.sha256(tmp_path / "c")}
    (directory / "manifest.json").write_text(json.dumps(manifest))

    def run(source: str, output: str) -> None:
        results_dir, written = tmp_path / "results", tmp_path / output
        print(calibration.calibrate(tmp_path / source, results_dir, sequences, written))

    run("c", "d")
    printed = capsys.readouterr().out
    assert "fitted to 5 frames" in printed
    assert "truncated" not in printed
    metadata = checkpoint.read(tmp_path / "d").metadata
    found = read_calibration(metadata)
    assert found is not None
    assert metadata["step"] == 3
    low, high = found(np.array([0.4, 0.7]))
    assert low < 0.2
    assert high > 0.8
    # The fit of calibrated scores comes after the calibration that made them.
    manifest = {"checkpoint_sha256": checkpoint.sha256(tmp_path / "d")}
    (directory / "manifest.json").write_text(json.dumps(manifest))
    results.write_result(directory, "a", boxes, found(scores), None, results.ResultFormat(True))
    run("d", "e")
    again = read_calibration(checkpoint.read(tmp_path / "e").metadata)
    assert again is not None
    assert again.slope > found.slope > 2  # hits and misses are apart: the steeper, the better
    (directory / "manifest.json").write_text(json.dumps({**manifest, "result_format": "int"}))
    run("d", "f")
    assert "--float-results keeps them exact" in capsys.readouterr().out
    (directory / "manifest.json").write_text(json.dumps({"checkpoint_sha256": "0"}))
    with pytest.raises(InputError, match="results of another checkpoint"):
        run("c", "g")
