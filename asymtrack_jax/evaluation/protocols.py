"""Evaluation protocols: the metrics of papers from predicted and annotated boxes, in numpy.

One-pass evaluation: the tracker is started on the first frame's annotation and scored on every
frame. A frame is valid if its annotation is finite with a positive width and height and the target
is not marked invisible. Three families of protocols:

`OnePass` (LaSOT, OTB, UAV123, NfS, TNL2K):

- The first frame's prediction is set to its annotation, and the frame is counted.
- Invalid frames stay in the denominator; each protocol defines what they count as.
- A prediction without width or height is replaced by that of the frame before, unless the
  annotation of its frame is missing.
- Predictions beyond the last annotation are ignored. Too few are an error in the `lasot`
  protocols; the others use an empty box at the origin for each missing one.
- Success is the share of frames whose overlap exceeds a threshold, strictly, at 21 thresholds from
  0 to 1; its area under the curve is their mean, so that a perfect tracker scores 20/21 = 95.24 %.
- Precision is the share of frames whose centre error is at most 20 pixels; normalised precision
  the share whose error, in units of the annotated width and height, is at most 0.20.
- A dataset's curve is the mean of its sequences' curves, unweighted by their lengths.

`Got10k`:

- The first frame and invalid frames (the dataset annotates the visible share of the target; 0 is
  invisible) are excluded, and the other frames of all sequences are pooled: long sequences weigh
  more.
- Both boxes are clipped to the image as in the toolkit: a top-left corner outside the image is
  moved to its edge, and width and height are cut where the image ends.
- AO is the mean overlap; SR0.5 and SR0.75 are the shares of frames whose overlap exceeds 0.5 and
  0.75, strictly.
- There must be exactly one prediction per frame.

`TrackingNet`:

- All boxes are rounded to whole pixels (half to even); the first frame's prediction is set to its
  annotation, and the frame is counted.
- Success is the share of frames whose overlap is at least a threshold, precision and normalised
  precision the shares whose centre errors are at most one, at 21 thresholds each: to 1, to 50
  pixels, to 0.5. All three numbers are areas under the curve by the trapezoidal rule, so that a
  perfect tracker scores 100 % in each. Here `precision` and `norm_precision` are not the values at
  20 pixels and 0.20.
- Missing predictions and invalid frames are failures at every threshold.
- A dataset's score is the mean of its sequences' scores.

Sources: OTB (Wu, Lim and Yang, "Object Tracking Benchmark", TPAMI 2015) for success and precision,
TrackingNet (Mueller et al., ECCV 2018; its development kit's `metrics.py`) for normalised precision
and the server's rules, LaSOT (Fan et al., CVPR 2019) for absent targets as failures, GOT-10k
(Huang, Zhao and Huang, TPAMI 2021; its toolkit). The `legacy` protocols reproduce the evaluation
code behind most published numbers: frames without a valid annotation count as hits of the
normalised precision, which raises it on datasets with absent targets.
"""

import abc
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Bool, Float

from asymtrack_jax import boxes
from asymtrack_jax.errors import InputError

# No threshold is rounded below its multiple of 1/20 or 1/100: a ratio of integers equal to a
# threshold is not a success, but is a hit of the precision.
OVERLAP_THRESHOLDS = np.linspace(0, 1, 21)
CENTRE_THRESHOLDS = np.arange(51) * 1.0  # pixels
NORM_CENTRE_THRESHOLDS = np.arange(51) / 100

_FAILURE, _HIT = math.inf, -1.0


MEASURES = {
    "success_auc": "success AUC",
    "precision": "precision",
    "norm_precision": "norm. precision",
    "ao": "AO",
    "sr50": "SR0.5",
    "sr75": "SR0.75",
}  # the keys of `Scores.percent`, and their display names


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """Scores of a sequence, or of a dataset.

    Attributes:
        percent: percent by measure (see `MEASURES`), the main measure first.
        curves: shares of frames, in [0, 1], at the thresholds of `Protocol.thresholds`, by curve.
        weight: weight in the mean over sequences; for a dataset the sum of the weights.
    """

    percent: Mapping[str, float]
    curves: Mapping[str, Float[np.ndarray, " thresholds"]]
    weight: float

    @property
    def main(self) -> float:
        """The measure that trackers are ranked by, in percent."""
        return next(iter(self.percent.values()))


class Protocol(abc.ABC):
    """Interface of an evaluation protocol.

    Attributes:
        name: name of the protocol, for options and reports.
        rules: summary of its rules in one line, for reports.
        thresholds: thresholds of each curve, by the curve's name.
    """

    name: str
    rules: str
    thresholds: Mapping[str, Float[np.ndarray, " thresholds"]]

    @abc.abstractmethod
    def score(
        self,
        prediction: Float[np.ndarray, "M 4"],
        annotation: Float[np.ndarray, "N 4"],
        visible: Bool[np.ndarray, " N"] | None = None,
        size: tuple[int, int] | None = None,
    ) -> Scores:
        """Scores a sequence's predicted boxes against its annotated boxes.

        Args:
            prediction: xywh boxes in pixels, one per frame.
            annotation: xywh boxes in pixels of the same origin; NaN, or a width or height of 0,
                where the target is absent.
            visible: False where the target is not visible; None if the dataset does not say.
            size: height and width of the images, for protocols that clip boxes to them.

        Raises:
            InputError: a prediction is not finite or has a negative size, the protocol does not
                allow this number of predictions, or it needs `size` and got None.
        """


def overall(scores: Sequence[Scores]) -> Scores:
    """Computes the scores of a dataset: weighted means over its sequences.

    Raises:
        InputError: no sequence has a frame that is counted.
    """
    weights = np.array([each.weight for each in scores])
    if not weights.sum():
        raise InputError("there is no frame to score: every sequence has only its first frame")

    def mean(values: list) -> Any:
        return np.average(values, axis=0, weights=weights)

    first = scores[0]
    return Scores(
        {name: float(mean([each.percent[name] for each in scores])) for name in first.percent},
        {name: mean([each.curves[name] for each in scores]) for name in first.curves},
        float(weights.sum()),
    )


@dataclasses.dataclass(frozen=True)
class OnePass(Protocol):
    """One-pass protocol, with the rules in which such protocols differ (see the module).

    Attributes:
        name: name of the protocol, for options and reports.
        require_all_frames: raise an error for fewer predictions than frames, instead of using empty
            boxes for the missing ones.
        invalid_centre_error: centre error of invalid frames: infinity is a failure at every
            threshold, -1 a hit at every threshold.
        invalid_norm_centre_error: normalised centre error of invalid frames, likewise.
        invisible_fails: count frames marked invisible as failures, whatever the two errors are.
    """

    name: str
    require_all_frames: bool = False
    invalid_centre_error: float = _FAILURE
    invalid_norm_centre_error: float = _FAILURE
    invisible_fails: bool = False

    thresholds = {  # noqa: RUF012
        "success": OVERLAP_THRESHOLDS,
        "precision": CENTRE_THRESHOLDS,
        "norm_precision": NORM_CENTRE_THRESHOLDS,
    }

    @property
    def rules(self) -> str:
        """Summary of the protocol's rules in one line, for reports."""
        hits = [
            name
            for name, error in (
                ("precision", self.invalid_centre_error),
                ("normalised precision", self.invalid_norm_centre_error),
            )
            if error == _HIT
        ]
        invalid = f"hits of the {' and the '.join(hits)}" if hits else "failures"
        return (
            "success AUC over 21 thresholds (perfect: 95.24), precision at 20 pixels, normalised "
            f"precision at 0.20, mean over sequences; frames without a target are {invalid}"
        )

    def score(self, prediction, annotation, visible=None, size=None) -> Scores:
        """Scores a sequence; see `Protocol.score`."""
        return one_pass_scores(frame_errors(prediction, annotation, visible, self))


class Got10k(Protocol):
    """GOT-10k's average overlap and success rates (see the module)."""

    name = "got10k"
    rules = (
        "AO, SR0.5 and SR0.75 pooled over the frames of all sequences; first frames and frames "
        "without a visible target left out, boxes clipped to the image"
    )
    thresholds = {"success": np.arange(101) / 100}  # noqa: RUF012

    def score(self, prediction, annotation, visible=None, size=None) -> Scores:
        """Scores a sequence; see `Protocol.score`."""
        _check_finite(prediction)
        if len(prediction) != len(annotation):
            raise InputError(
                f"{len(prediction)} predicted boxes for {len(annotation)} frames: "
                "the got10k protocol needs exactly one per frame"
            )
        if size is None:
            raise InputError("the got10k protocol clips boxes to the image, whose size is unknown")
        counted = _valid(annotation, visible)
        counted[0] = False
        overlap = np.zeros(int(counted.sum()))
        guess, truth = (_clip(xywh[counted], *size) for xywh in (prediction, annotation))
        area = truth[:, 2:].prod(axis=1) > 0  # 0 for annotations outside the image
        overlap[area] = np.minimum(boxes.iou(guess[area], truth[area]), 1.0)
        weight = float(len(overlap))
        if not weight:
            overlap = np.zeros(1)
        success = (overlap[:, None] > self.thresholds["success"]).mean(axis=0)
        measured = {"ao": overlap.mean(), "sr50": success[50], "sr75": success[75]}
        return Scores(
            {name: 100 * float(value) for name, value in measured.items()},
            {"success": success},
            weight,
        )


class TrackingNet(Protocol):
    """The rules of TrackingNet's server (see the module)."""

    name = "trackingnet"
    rules = (
        "as TrackingNet's server: boxes rounded to whole pixels, areas under the three curves by "
        "the trapezoidal rule (perfect: 100 each), mean over sequences"
    )
    thresholds = {  # noqa: RUF012
        "success": np.linspace(0, 1, 21),
        "precision": np.linspace(0, 50, 21),
        "norm_precision": np.linspace(0, 0.5, 21),
    }

    @np.errstate(over="ignore")
    def score(self, prediction, annotation, visible=None, size=None) -> Scores:
        """Scores a sequence; see `Protocol.score`."""
        _check_finite(prediction)
        valid = _valid(annotation, visible)
        annotation, given = np.round(annotation), np.round(prediction[: len(annotation)])
        valid[len(given) :] = False
        valid &= (annotation[:, 2:] > 0).all(axis=1)  # also after rounding
        prediction = np.zeros_like(annotation)
        prediction[: len(given)] = given
        prediction[0] = annotation[0]

        truth, guess = annotation[valid], prediction[valid]
        shift = truth[:, :2] + truth[:, 2:] / 2 - guess[:, :2] - guess[:, 2:] / 2
        errors = {
            "success": boxes.iou(guess, truth),
            "precision": np.sqrt((shift**2).sum(axis=1)),
            # In the server's order of operations, which decides ties at thresholds.
            "norm_precision": np.sqrt((shift / truth[:, 2:] * shift / truth[:, 2:]).sum(axis=1)),
        }
        of = {}
        for name, thresholds in self.thresholds.items():
            error = errors[name][:, None]
            hits = error >= thresholds if name == "success" else error <= thresholds
            of[name] = hits.sum(axis=0) / len(annotation)
        areas = [100 * float((curve[:-1] + curve[1:]).sum() / 40) for curve in of.values()]
        return Scores(
            dict(zip(("success_auc", "precision", "norm_precision"), areas, strict=True)), of, 1.0
        )


ONE_PASS = {
    protocol.name: protocol
    for protocol in (
        # Absent targets are failures in all three measures.
        OnePass("lasot", require_all_frames=True),
        OnePass("otb"),
        # The rules of published numbers: `otb-legacy` for OTB, NFS, TNL2K and LaSOT_ext.
        OnePass(
            "lasot-legacy",
            require_all_frames=True,
            invalid_norm_centre_error=_HIT,
            invisible_fails=True,
        ),
        OnePass("otb-legacy", invalid_norm_centre_error=_HIT),
        OnePass("uav-legacy", invalid_centre_error=_HIT, invalid_norm_centre_error=_HIT),
    )
}
PROTOCOLS: dict[str, Protocol] = {**ONE_PASS, "got10k": Got10k(), "trackingnet": TrackingNet()}

if TYPE_CHECKING:
    ProtocolName = str
else:
    ProtocolName = Literal[tuple(PROTOCOLS)]  # the names, for command lines


@dataclasses.dataclass(frozen=True, eq=False)
class FrameErrors:
    """Overlap and centre errors in each of a sequence's N frames.

    Attributes:
        overlap: intersection over union, in [0, 1]; -1 in invalid frames.
        centre: distance of the centres, pixels; in invalid frames `invalid_centre_error`.
        norm_centre: distance of the centres, x and y in units of the annotated width and height;
            in invalid frames `invalid_norm_centre_error`.
        valid: whether a frame has an annotated, visible target.
    """

    overlap: Float[np.ndarray, " N"]
    centre: Float[np.ndarray, " N"]
    norm_centre: Float[np.ndarray, " N"]
    valid: Bool[np.ndarray, " N"]


@np.errstate(over="ignore")  # squares of huge predictions may overflow
def frame_errors(
    prediction: Float[np.ndarray, "M 4"],
    annotation: Float[np.ndarray, "N 4"],
    visible: Bool[np.ndarray, " N"] | None,
    protocol: OnePass,
) -> FrameErrors:
    """Computes overlap and centre errors of a sequence's predicted boxes, frame by frame.

    Args:
        prediction: xywh boxes in pixels, one per frame.
        annotation: xywh boxes in pixels of the same origin; NaN, or a width or height of 0, where
            the target is absent.
        visible: False where the target is not visible; None if the dataset does not say.
        protocol: the protocol, which defines the errors of invalid frames.

    Raises:
        InputError: a prediction is not finite or has a negative size, or there are fewer
            predictions than the protocol allows.
    """
    num_frames = len(annotation)
    prediction = _checked_prediction(prediction, annotation, protocol)

    valid = _valid(annotation, visible)
    predicted, annotated = prediction[valid], annotation[valid]
    overlap = np.full(num_frames, -1.0)
    # The overlap of equal boxes may be rounded above 1, and so above the last threshold.
    overlap[valid] = np.minimum(boxes.iou(predicted, annotated), 1.0)
    centre = np.full(num_frames, protocol.invalid_centre_error)
    centre[valid] = _centre_distance(predicted, annotated, np.ones(2))
    norm_centre = np.full(num_frames, protocol.invalid_norm_centre_error)
    norm_centre[valid] = _centre_distance(predicted, annotated, annotated[:, 2:])
    if protocol.invisible_fails and visible is not None:
        centre[~visible] = norm_centre[~visible] = _FAILURE
    return FrameErrors(overlap, centre, norm_centre, valid)


def _valid(
    annotation: Float[np.ndarray, "N 4"], visible: Bool[np.ndarray, " N"] | None
) -> Bool[np.ndarray, " N"]:
    """Returns whether each frame has an annotated, visible target."""
    valid = np.isfinite(annotation).all(axis=1) & np.all(annotation[:, 2:] > 0, axis=1)
    return valid if visible is None else valid & visible


def _check_finite(prediction: Float[np.ndarray, "M 4"]) -> None:
    unusable = ~np.isfinite(prediction).all(axis=1) | (prediction[:, 2:] < 0).any(axis=1)
    if unusable.any():
        frame = int(unusable.argmax())
        raise InputError(
            f"the box predicted in frame {frame} (counted from 0) is {prediction[frame].tolist()}: "
            "boxes must be finite, with a width and height of at least 0"
        )


def _clip(xywh: Float[np.ndarray, "N 4"], height: int, width: int) -> Float[np.ndarray, "N 4"]:
    """Clips boxes to the image as GOT-10k's toolkit does: moving a corner moves its box."""
    size = np.array([width, height])
    corner = np.clip(xywh[:, :2], 0, size)
    return np.concatenate([corner, np.clip(xywh[:, 2:], 0, size - corner)], axis=1)


def _checked_prediction(
    prediction: Float[np.ndarray, "M 4"], annotation: Float[np.ndarray, "N 4"], protocol: OnePass
) -> Float[np.ndarray, "N 4"]:
    """Returns one box per frame, by the rules on length, empty boxes and the first frame."""
    _check_finite(prediction)
    missing = len(annotation) - len(prediction)
    if missing > 0 and protocol.require_all_frames:
        raise InputError(
            f"{len(prediction)} predicted boxes for {len(annotation)} frames: "
            f"the {protocol.name} protocol needs one per frame"
        )
    prediction = prediction[: len(annotation)].copy()
    annotated = ~np.isnan(annotation[: len(prediction)]).any(axis=1)
    empty = np.any(prediction[:, 2:] == 0, axis=1) & annotated
    for frame in np.flatnonzero(empty[1:]) + 1:
        prediction[frame] = prediction[frame - 1]
    prediction = np.concatenate([prediction, np.zeros((max(missing, 0), 4))])
    prediction[0] = annotation[0]
    return prediction


def _centre_distance(
    a: Float[np.ndarray, "N 4"], b: Float[np.ndarray, "N 4"], unit: Float[np.ndarray, "*N 2"]
) -> Float[np.ndarray, " N"]:
    """Returns distances of the centres of xywh boxes, x and y each in its unit.

    The centre is that of whole pixels (hence w - 1, h - 1), divided before it is subtracted, as in
    the published evaluation code: distances of exactly 20 pixels or 0.20 are common between
    integer boxes, and rounding then decides whether they are hits.
    """
    centre_a = (a[:, :2] + 0.5 * (a[:, 2:] - 1)) / unit
    centre_b = (b[:, :2] + 0.5 * (b[:, 2:] - 1)) / unit
    return np.sqrt(np.sum((centre_a - centre_b) ** 2, axis=1))


def one_pass_scores(errors: FrameErrors) -> Scores:
    """Computes a sequence's scores from its frames' errors; all frames are in the denominator."""
    curves = {
        "success": (errors.overlap[:, None] > OVERLAP_THRESHOLDS).mean(axis=0),
        "precision": (errors.centre[:, None] <= CENTRE_THRESHOLDS).mean(axis=0),
        "norm_precision": (errors.norm_centre[:, None] <= NORM_CENTRE_THRESHOLDS).mean(axis=0),
    }
    percent = {
        "success_auc": 100 * float(curves["success"].mean()),
        "precision": 100 * float(curves["precision"][20]),  # 20 pixels
        "norm_precision": 100 * float(curves["norm_precision"][20]),  # 0.20
    }
    return Scores(percent, curves, 1.0)
