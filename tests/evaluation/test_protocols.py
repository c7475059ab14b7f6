"""Protocols against the reference's own outputs, and one test per rule."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from asymtrack_jax.errors import InputError
from asymtrack_jax.evaluation import protocols
from asymtrack_jax.evaluation.protocols import ONE_PASS, PROTOCOLS

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics.npz"
LEGACY = {"lasot": "lasot-legacy", "otb": "otb-legacy", "nfs": "otb-legacy", "uav": "uav-legacy"}
LASOT, OTB = ONE_PASS["lasot"], ONE_PASS["otb"]


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


def one_pass(prediction, annotation, visible=None, protocol=LASOT):
    """The measures of one sequence, in percent."""
    visible = None if visible is None else np.array(visible)
    errors = protocols.frame_errors(
        np.array(prediction, float), np.array(annotation, float), visible, protocol
    )
    return SimpleNamespace(**protocols.one_pass_scores(errors).percent)


@pytest.mark.parametrize("sequence", range(5))
def test_legacy_protocols_equal_the_reference(sequence):
    values = golden(sequence)
    errors = golden_errors(values, ONE_PASS[LEGACY[str(values["dataset"])]])
    np.testing.assert_array_equal(errors.valid, values["valid"])
    np.testing.assert_allclose(errors.overlap, values["overlap"], atol=1e-6)
    np.testing.assert_allclose(errors.centre, values["center"], atol=1e-6)
    np.testing.assert_allclose(errors.norm_centre, values["center_norm"], atol=1e-6)
    np.testing.assert_allclose(
        errors.overlap[errors.valid].mean(), values["avg_overlap"], atol=1e-6
    )
    for name, curve in protocols.one_pass_scores(errors).curves.items():
        np.testing.assert_allclose(curve, values[name], atol=1e-6)


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


def test_a_set_weighs_its_sequences_alike_however_long():
    there, gone = np.array([square(0)] * 9), np.array([square(0)] + [square(99)] * 3)
    short = LASOT.score(there[:2], there[:2])
    long = LASOT.score(gone, there[:4])
    scores = protocols.overall([short, long, long, long]).percent
    assert scores == pytest.approx(
        {name: (short.percent[name] + 3 * long.percent[name]) / 4 for name in short.percent}
    )
    assert scores["precision"] == pytest.approx((100 + 3 * 25) / 4)


@pytest.mark.parametrize("protocol", [LASOT, OTB])
def test_a_perfect_tracker_scores_20_of_21(protocol):
    rng = np.random.default_rng(0)
    # Corners whose sum with the size is inexact: some overlaps round to more than 1.
    boxes = rng.uniform([0, 0, 3, 3], [600, 400, 90, 90], (500, 4))
    scores = one_pass(boxes, boxes, protocol=protocol)
    assert scores.success_auc == pytest.approx(100 * 20 / 21, abs=1e-9)
    assert (scores.precision, scores.norm_precision) == (100, 100)


def test_first_frame_is_set_to_ground_truth_and_counted():
    annotation = [square(0), square(0)]
    scores = one_pass([square(500), square(500)], annotation)
    assert scores.precision == scores.norm_precision == 50
    assert scores.success_auc == pytest.approx(100 * 20 / 21 / 2)


@pytest.mark.parametrize("absent", [[np.nan] * 4, [0, 0, 0, 0], [5, 5, 0, 9], [5, np.nan, 9, 9]])
@pytest.mark.parametrize("protocol", [LASOT, OTB])
def test_frames_without_a_valid_annotation_are_failures(absent, protocol):
    annotation = [square(0), absent, square(0), absent]
    scores = one_pass([square(0)] * 4, annotation, protocol=protocol)
    assert scores.precision == scores.norm_precision == 50
    assert scores.success_auc == pytest.approx(100 * 20 / 21 / 2)
    errors = protocols.frame_errors(np.zeros((4, 4)), np.array(annotation), None, protocol)
    np.testing.assert_array_equal(errors.valid, [True, False, True, False])


@pytest.mark.parametrize("protocol", [LASOT, OTB])
def test_frames_marked_invisible_are_failures(protocol):
    scores = one_pass([square(0)] * 2, [square(0)] * 2, [True, False], protocol)
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
    scores = one_pass([square(0)] * 3, annotation, [True, True, False], ONE_PASS[name])
    assert scores.precision == pytest.approx(100 * precision / 3)
    assert scores.norm_precision == pytest.approx(100 * norm_precision / 3)


@pytest.mark.parametrize("protocol", [LASOT, OTB])
def test_surplus_predictions_are_cut(protocol):
    annotation = [square(0)] * 2
    surplus = one_pass([square(0)] * 2 + [square(900)] * 3, annotation, protocol=protocol)
    assert surplus == one_pass([square(0)] * 2, annotation, protocol=protocol)


def test_too_few_predictions_are_refused_by_lasot():
    with pytest.raises(InputError, match="3 predicted boxes for 4 frames: the lasot protocol"):
        one_pass([square(0)] * 3, [square(0)] * 4)


def test_too_few_predictions_fail_the_missing_frames_of_other_sets():
    scores = one_pass([square(100)] * 3, [square(100)] * 4, protocol=OTB)
    assert scores.precision == scores.norm_precision == 75
    assert one_pass(np.empty((0, 4)), [square(100)] * 4, protocol=OTB).precision == 25


@pytest.mark.parametrize("bad", [[np.nan, 0, 9, 9], [0, 0, np.inf, 9], [0, 0, -1, 9]])
def test_unusable_predictions_are_refused(bad):
    with pytest.raises(InputError, match="predicted in frame 1 "):
        one_pass([square(0), bad], [square(0)] * 2)


def test_boxes_without_size_are_replaced_by_the_previous_one():
    prediction = [square(0), square(0), [700, 0, 0, 0], [700, 0, 10, 0]]
    assert one_pass(prediction, [square(0)] * 4).precision == 100
    # The frame after the first takes what the tracker returned for the first, not the annotation.
    assert one_pass([square(700), [0, 0, 0, 0]], [square(0)] * 2).precision == 50


def test_boxes_without_size_are_kept_where_the_annotation_is_missing():
    prediction = [square(0), [700, 0, 0, 0], [700, 0, 0, 0]]
    annotation = [square(0), [np.nan] * 4, square(0)]
    assert one_pass(prediction, annotation).precision == pytest.approx(100 / 3)


def test_success_is_strict_and_precision_is_not():
    annotation = [square(100, side=100)] * 2
    halved = protocols.one_pass_scores(
        protocols.frame_errors(
            np.array([annotation[0], [100.0, 100, 100, 50]]),
            np.array([[100.0, 100, 100, 100]] * 2),
            None,
            LASOT,
        )
    )
    np.testing.assert_array_equal(halved.curves["success"], [1.0] * 10 + [0.5] * 10 + [0.0])
    for shift, hit in [(20, 100), (20.001, 50)]:
        moved = [annotation[0], square(100 + shift, side=100)]
        assert one_pass(moved, annotation).precision == hit
        assert one_pass(moved, annotation).norm_precision == hit


@pytest.mark.parametrize("part", range(1, 20))
def test_ratios_of_integers_fall_on_thresholds(part):
    annotation = np.array([[0, 0, 100.0, 1]] * 2)
    narrow = np.array([annotation[0], [0, 0, 5.0 * part, 1]])
    errors = protocols.frame_errors(narrow, annotation, None, LASOT)
    success = protocols.one_pass_scores(errors).curves["success"]
    np.testing.assert_array_equal(success[:20], [1.0] * part + [0.5] * (20 - part))
    shifted = annotation + np.array([[0.0] * 4, [float(part), 0, 0, 0]])
    errors = protocols.frame_errors(shifted, annotation, None, LASOT)
    precision = protocols.one_pass_scores(errors).curves["precision"]
    np.testing.assert_array_equal(precision, [0.5] * part + [1.0] * (51 - part))


def test_distances_round_as_the_published_code_does():
    # 6 pixels of 30: subtracting first would give 0.2, a hit.
    annotation = [[92.0, 0, 30, 30]] * 2
    assert one_pass([annotation[0], [98.0, 0, 30, 30]], annotation).norm_precision == 50


SIZE = (100, 200)


def score(name, prediction, annotation, visible=None, size=SIZE):
    visible = None if visible is None else np.array(visible)
    prediction, annotation = np.array(prediction, float), np.array(annotation, float)
    return PROTOCOLS[name].score(prediction, annotation, visible, size)


def percent_of(*args, **kwargs):
    return dict(score(*args, **kwargs).percent)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_perfect_tracker_by_every_protocol(name):
    rng = np.random.default_rng(0)
    boxes = rng.uniform([0, 0, 3, 3], [100, 60, 90, 40], (500, 4))
    perfect = percent_of(name, boxes, boxes)
    if name == "got10k":
        assert perfect == pytest.approx({"ao": 100, "sr50": 100, "sr75": 100})
    else:
        auc = 100 if name == "trackingnet" else 100 * 20 / 21
        expected = {"success_auc": auc, "precision": 100, "norm_precision": 100}
        assert perfect == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_curves_lie_over_their_thresholds_and_protocols_say_their_rules(name):
    protocol = PROTOCOLS[name]
    curves = score(name, [square(0)] * 3, [square(0)] * 3).curves
    assert {key: len(curve) for key, curve in curves.items()} == {
        key: len(thresholds) for key, thresholds in protocol.thresholds.items()
    }
    assert protocol.name == name
    assert len(protocol.rules) > 20


def test_one_pass_protocols_score_the_errors_of_frames():
    annotation, prediction = [square(0)] * 4, [square(shift) for shift in (0, 1, 3, 30)]
    assert percent_of("otb", prediction, annotation) == vars(one_pass(prediction, annotation))


def test_the_set_is_a_mean_by_weights():
    one = protocols.Scores({"ao": 10.0}, {"success": np.array([1.0, 0])}, 1.0)
    three = protocols.Scores({"ao": 50.0}, {"success": np.array([1.0, 1])}, 3.0)
    both = protocols.overall([one, three])
    assert both.percent == pytest.approx({"ao": 40.0})
    np.testing.assert_array_equal(both.curves["success"], [1, 0.75])
    assert both.weight == 4


def test_got10k_leaves_out_first_and_hidden_frames_and_pools_the_others():
    annotation = [square(0)] * 5
    prediction = [square(50), square(0), square(50), square(50), square(0)]
    visible = [True, True, False, True, True]
    short = score("got10k", prediction, annotation, visible)
    assert short.percent["ao"] == pytest.approx(100 * 2 / 3)  # frames 2, 4 and 5
    long = score("got10k", [square(0)] * 10, [square(0)] * 10)
    assert protocols.overall([short, long]).percent["ao"] == pytest.approx(100 * 11 / 12)
    absent = [square(0), [np.nan] * 4, [0, 0, 0, 0], square(0)]
    assert score("got10k", [square(0)] * 4, absent).weight == 1
    unscored = score("got10k", [square(0)], [square(0)])
    assert protocols.overall([unscored, long]).percent["ao"] == 100
    with pytest.raises(InputError, match="no frame to score"):
        protocols.overall([unscored])


@pytest.mark.parametrize(("side", "sr50", "sr75"), [(5, 0, 0), (5.1, 100, 0), (7.5, 100, 0)])
def test_got10k_success_rates_are_strict(side, sr50, sr75):
    scores = percent_of("got10k", [square(0), [0, 0, 10, side]], [square(0)] * 2)
    assert scores == pytest.approx({"ao": 10 * side, "sr50": sr50, "sr75": sr75})


def test_got10k_clips_both_boxes_to_the_image():
    # 60 of 100 columns of the annotation, and all of the prediction, lie within the 200.
    scores = percent_of("got10k", [square(0), [140, 0, 60, 50]], [square(0), [140, 0, 100, 50]])
    assert scores["ao"] == 100
    # A corner that is moved to the edge keeps the box's size, as in the toolkit.
    scores = percent_of("got10k", [square(0), [0, 0, 30, 10]], [square(0), [-20, 0, 30, 10]])
    assert scores["ao"] == 100
    outside = percent_of("got10k", [square(0), [250, 0, 9, 9]], [square(0), [250, 0, 9, 9]])
    assert outside["ao"] == 0
    with pytest.raises(InputError, match="whose size is unknown"):
        score("got10k", [square(0)], [square(0)], size=None)


@pytest.mark.parametrize("count", [2, 4])
def test_got10k_wants_one_prediction_a_frame(count):
    with pytest.raises(InputError, match=f"{count} predicted boxes for 3 frames: the got10k"):
        score("got10k", [square(0)] * count, [square(0)] * 3)


def test_trackingnet_rounds_boxes_halves_to_even():
    annotation = [square(0), [0.5, 1.5, 10.4, 9.6], [3.4, 0, 10, 10]]
    rounded = [square(0), [0, 2, 10, 10], [3, 0, 10, 10]]
    assert percent_of("trackingnet", rounded, annotation)["success_auc"] == 100
    assert percent_of("trackingnet", annotation, rounded)["success_auc"] == 100


def test_trackingnet_sets_and_counts_the_first_frame():
    scores = percent_of("trackingnet", [square(90), square(900)], [square(0)] * 2)
    assert scores["precision"] == scores["norm_precision"] == 50
    # At threshold 0 no overlap is still a success: 1/20 of the area, halved by the trapezoid.
    assert scores["success_auc"] == pytest.approx(50 + 50 / 40)


def test_trackingnet_thresholds_are_inclusive():
    annotation = [square(100, side=100)] * 2
    success = score("trackingnet", [annotation[0], [100, 0, 100, 50]], annotation).curves
    np.testing.assert_array_equal(success["success"], [1.0] * 11 + [0.5] * 10)
    moved = score("trackingnet", [annotation[0], square(105, side=100)], annotation).curves
    np.testing.assert_array_equal(moved["precision"], [0.5] * 2 + [1.0] * 19)
    np.testing.assert_array_equal(moved["norm_precision"], [0.5] * 2 + [1.0] * 19)


def test_trackingnet_numbers_are_areas():
    # 20 pixels of 50 are missed: thresholds 0 to 17.5 of 0, 2.5, ..., 50.
    annotation = [square(0, side=100)] * 2
    scores = percent_of("trackingnet", [annotation[0], square(20, side=100)], annotation)
    curve = np.array([0.5] * 8 + [1.0] * 13)
    assert scores["precision"] == pytest.approx(100 * (curve[:-1] + curve[1:]).sum() / 40)


def test_trackingnet_fails_missing_predictions_and_invalid_frames():
    annotation = [square(0)] * 4
    short = percent_of("trackingnet", [square(0)] * 2, annotation)
    assert short == {"success_auc": 50, "precision": 50, "norm_precision": 50}
    absent = [square(0), [np.nan] * 4, [0, 0, 0, 0], [0, 0, 0.4, 9]]
    assert percent_of("trackingnet", [square(0)] * 4, absent)["success_auc"] == 25
    hidden = percent_of("trackingnet", annotation, annotation, [True, True, False, False])
    assert hidden["success_auc"] == 50


def test_trackingnet_cuts_surplus_predictions():
    scores = percent_of("trackingnet", [square(0)] * 5 + [square(99)], [square(0)] * 5)
    assert scores["success_auc"] == 100


@pytest.mark.parametrize("name", ["got10k", "trackingnet"])
def test_servers_refuse_unusable_predictions(name):
    with pytest.raises(InputError, match="predicted in frame 1 "):
        score(name, [square(0), [np.nan, 0, 9, 9]], [square(0)] * 2)
