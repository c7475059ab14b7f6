"""Protocols against the reference's own outputs, and one test per rule."""

from pathlib import Path

import numpy as np
import pytest

from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import protocols
from asymtrack_jax.evaluation.protocols import PROTOCOLS

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics.npz"
LEGACY = {"lasot": "lasot-legacy", "otb": "otb-legacy", "nfs": "otb-legacy", "uav": "uav-legacy"}
LASOT, OTB = PROTOCOLS["lasot"], PROTOCOLS["otb"]


def golden(sequence):
    with np.load(GOLDEN) as archive:
        prefix = f"s{sequence}_"
        return {
            name.removeprefix(prefix): archive[name]
            for name in archive.files
            if name.startswith(prefix)
        }


def golden_errors(values, protocol):
    visible = values["visible"].astype(bool) if "visible" in values else None
    return protocols.frame_errors(values["pred"], values["anno"], visible, protocol)


def square(x, y=0.0, side=10.0):
    return [x, y, side, side]


def judge(prediction, annotation, visible=None, protocol=LASOT):
    """Scores of one sequence."""
    visible = None if visible is None else np.array(visible)
    errors = protocols.frame_errors(
        np.array(prediction, float), np.array(annotation, float), visible, protocol
    )
    return protocols.scores(protocols.curves(errors))


@pytest.mark.parametrize("sequence", range(5))
def test_legacy_protocols_equal_the_reference(sequence):
    values = golden(sequence)
    errors = golden_errors(values, PROTOCOLS[LEGACY[str(values["dataset"])]])
    np.testing.assert_array_equal(errors.valid, values["valid"])
    np.testing.assert_allclose(errors.overlap, values["overlap"], atol=1e-6)
    np.testing.assert_allclose(errors.centre, values["center"], atol=1e-6)
    np.testing.assert_allclose(errors.norm_centre, values["center_norm"], atol=1e-6)
    np.testing.assert_allclose(
        errors.overlap[errors.valid].mean(), values["avg_overlap"], atol=1e-6
    )
    curves = protocols.curves(errors)
    np.testing.assert_allclose(curves.success, values["success"], atol=1e-6)
    np.testing.assert_allclose(curves.precision, values["precision"], atol=1e-6)
    np.testing.assert_allclose(curves.norm_precision, values["norm_precision"], atol=1e-6)


@pytest.mark.parametrize("sequence", range(5))
def test_default_protocols_differ_from_the_reference_in_invalid_frames_alone(sequence):
    values = golden(sequence)
    errors = golden_errors(values, LASOT if values["dataset"] == "lasot" else OTB)
    valid = errors.valid
    np.testing.assert_allclose(errors.overlap, values["overlap"], atol=1e-6)
    np.testing.assert_allclose(errors.centre[valid], values["center"][valid], atol=1e-6)
    np.testing.assert_allclose(errors.norm_centre[valid], values["center_norm"][valid], atol=1e-6)
    assert np.isposinf(errors.centre[~valid]).all()
    assert np.isposinf(errors.norm_centre[~valid]).all()


def test_mean_curves_weigh_sequences_alike():
    short = protocols.Curves(np.ones(21), np.ones(51), np.ones(51))
    long = protocols.Curves(np.zeros(21), np.zeros(51), np.full(51, 0.5))
    mean = protocols.scores(protocols.mean_curves([short, long, long, long]))
    assert mean == protocols.Scores(25.0, 25.0, 62.5)


@pytest.mark.parametrize("protocol", [LASOT, OTB])
def test_a_perfect_tracker_scores_20_of_21(protocol):
    rng = np.random.default_rng(0)
    # Corners whose sum with the size is inexact: some overlaps round to more than 1.
    boxes = rng.uniform([0, 0, 3, 3], [600, 400, 90, 90], (500, 4))
    scores = judge(boxes, boxes, protocol=protocol)
    assert scores.success_auc == pytest.approx(100 * 20 / 21, abs=1e-9)
    assert (scores.precision, scores.norm_precision) == (100, 100)


def test_first_frame_is_set_to_ground_truth_and_counted():
    annotation = [square(0), square(0)]
    scores = judge([square(500), square(500)], annotation)
    assert scores.precision == scores.norm_precision == 50
    assert scores.success_auc == pytest.approx(100 * 20 / 21 / 2)


@pytest.mark.parametrize("absent", [[np.nan] * 4, [0, 0, 0, 0], [5, 5, 0, 9], [5, np.nan, 9, 9]])
@pytest.mark.parametrize("protocol", [LASOT, OTB])
def test_frames_without_a_valid_annotation_are_failures(absent, protocol):
    annotation = [square(0), absent, square(0), absent]
    scores = judge([square(0)] * 4, annotation, protocol=protocol)
    assert scores.precision == scores.norm_precision == 50
    assert scores.success_auc == pytest.approx(100 * 20 / 21 / 2)
    errors = protocols.frame_errors(np.zeros((4, 4)), np.array(annotation), None, protocol)
    np.testing.assert_array_equal(errors.valid, [True, False, True, False])


@pytest.mark.parametrize("protocol", [LASOT, OTB])
def test_frames_marked_invisible_are_failures(protocol):
    scores = judge([square(0)] * 2, [square(0)] * 2, [True, False], protocol)
    assert scores.precision == scores.norm_precision == 50


@pytest.mark.parametrize(
    ("name", "precision", "norm_precision"),
    [
        ("lasot-legacy", 1, 2),  # only the frame without a box is a hit, not the invisible one
        ("otb-legacy", 1, 3),
        ("uav-legacy", 3, 3),
    ],
)
def test_legacy_protocols_count_invalid_frames_as_hits(name, precision, norm_precision):
    annotation = [square(0), [0, 0, 0, 0], square(0)]
    scores = judge([square(0)] * 3, annotation, [True, True, False], PROTOCOLS[name])
    assert scores.precision == pytest.approx(100 * precision / 3)
    assert scores.norm_precision == pytest.approx(100 * norm_precision / 3)


@pytest.mark.parametrize("protocol", [LASOT, OTB])
def test_surplus_predictions_are_cut(protocol):
    annotation = [square(0)] * 2
    surplus = judge([square(0)] * 2 + [square(900)] * 3, annotation, protocol=protocol)
    assert surplus == judge([square(0)] * 2, annotation, protocol=protocol)


def test_too_few_predictions_are_refused_by_lasot():
    with pytest.raises(InputError, match="3 predicted boxes for 4 frames: the lasot protocol"):
        judge([square(0)] * 3, [square(0)] * 4)


def test_too_few_predictions_fail_the_missing_frames_of_other_sets():
    scores = judge([square(100)] * 3, [square(100)] * 4, protocol=OTB)
    assert scores.precision == scores.norm_precision == 75
    assert judge(np.empty((0, 4)), [square(100)] * 4, protocol=OTB).precision == 25


@pytest.mark.parametrize("bad", [[np.nan, 0, 9, 9], [0, 0, np.inf, 9], [0, 0, -1, 9]])
def test_unusable_predictions_are_refused(bad):
    with pytest.raises(InputError, match="predicted box 2 is"):
        judge([square(0), bad], [square(0)] * 2)


def test_boxes_without_size_are_replaced_by_the_previous_one():
    prediction = [square(0), square(0), [700, 0, 0, 0], [700, 0, 10, 0]]
    assert judge(prediction, [square(0)] * 4).precision == 100
    # The frame after the first takes what the tracker returned for the first, not the annotation.
    assert judge([square(700), [0, 0, 0, 0]], [square(0)] * 2).precision == 50


def test_boxes_without_size_are_kept_where_the_annotation_is_missing():
    prediction = [square(0), [700, 0, 0, 0], [700, 0, 0, 0]]
    annotation = [square(0), [np.nan] * 4, square(0)]
    assert judge(prediction, annotation).precision == pytest.approx(100 / 3)


def test_success_is_strict_and_precision_is_not():
    annotation = [square(100, side=100)] * 2
    halved = protocols.curves(
        protocols.frame_errors(
            np.array([annotation[0], [100.0, 100, 100, 50]]),
            np.array([[100.0, 100, 100, 100]] * 2),
            None,
            LASOT,
        )
    )
    np.testing.assert_array_equal(halved.success, [1.0] * 10 + [0.5] * 10 + [0.0])
    for shift, hit in [(20, 100), (20.001, 50)]:
        moved = [annotation[0], square(100 + shift, side=100)]
        assert judge(moved, annotation).precision == hit
        assert judge(moved, annotation).norm_precision == hit


@pytest.mark.parametrize("part", range(1, 20))
def test_ratios_of_integers_fall_on_thresholds(part):
    annotation = np.array([[0, 0, 100.0, 1]] * 2)
    narrow = np.array([annotation[0], [0, 0, 5.0 * part, 1]])
    success = protocols.curves(protocols.frame_errors(narrow, annotation, None, LASOT)).success
    np.testing.assert_array_equal(success[:20], [1.0] * part + [0.5] * (20 - part))
    shifted = annotation + np.array([[0.0] * 4, [float(part), 0, 0, 0]])
    errors = protocols.frame_errors(shifted, annotation, None, LASOT)
    precision = protocols.curves(errors).precision
    np.testing.assert_array_equal(precision, [0.5] * part + [1.0] * (51 - part))


def test_distances_round_as_the_published_code_does():
    # 6 pixels of 30: subtracting first would give 0.2, a hit.
    annotation = [[92.0, 0, 30, 30]] * 2
    assert judge([annotation[0], [98.0, 0, 30, 30]], annotation).norm_precision == 50
