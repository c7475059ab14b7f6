import math

import numpy as np
import pytest

from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import results
from asymtrack_jax.evaluation.reliability import ScoredFrames, collect
from asymtrack_jax.evaluation.results import ResultFolder
from tests.evaluation.sequences import write_sequences


def frames(*pairs: tuple[float, float]) -> ScoredFrames:
    scores, overlaps = np.array(pairs, float).T
    return ScoredFrames(scores, overlaps)


def test_the_error_is_between_means_of_bins():
    assert frames((0.42, 0.1), (0.48, 0.8)).error() == pytest.approx(0)  # one bin, right on average
    assert frames((0.0, 0.5), (1.0, 0.5)).error() == pytest.approx(0.5)
    parts = frames((0.05, 0), (0.1, 0), (1.0, 1), (0.95, 0)).binned()
    assert [len(part.scores) for part in parts] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 2]


def test_auroc_is_the_share_of_pairs_in_order():
    assert frames((0.9, 1), (0.8, 0.6), (0.1, 0.5)).auroc() == 1
    assert frames((0.1, 1), (0.8, 0)).auroc() == 0
    assert frames((0.5, 1), (0.5, 0), (0.7, 0), (0.2, 0)).auroc() == pytest.approx(0.5)
    assert math.isnan(frames((0.5, 1)).auroc())


def test_scores_and_overlaps_are_of_the_same_frames(tmp_path):
    sequences = write_sequences(tmp_path / "data", {"a": 4, "b": 3, "c": 2})
    boxes = sequences[0].boxes.copy()
    boxes[2] += [5, 0, 0, 0]
    sequences[0].boxes[3] = np.nan
    scores = np.array([1, 0.9, 0.4, 0.2])
    results.write_result(tmp_path, "a", boxes, scores, None, results.ResultFormat(True))
    np.savetxt(tmp_path / "b.txt", sequences[1].boxes)  # a tracker without scores
    folder = ResultFolder("x", tmp_path)
    found = collect(folder, sequences)
    np.testing.assert_allclose(found.scores, [0.9, 0.4, 0.2])
    np.testing.assert_allclose(found.overlaps, [1, 1 / 3, 0], atol=1e-6)
    assert len(collect(folder, sequences[1:]).scores) == 0
    (tmp_path / "a_score.txt").write_text("1\n0.5\n")
    with pytest.raises(InputError, match=r"a\.txt has 2 scores, .* 4 frames"):
        collect(folder, sequences)
