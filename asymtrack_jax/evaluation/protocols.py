"""From predicted and annotated boxes to the numbers papers print: pure functions of arrays.

One-pass evaluation: the tracker is started on the first frame's annotation and judged on every
frame. Rules common to all protocols here:

- The first frame's prediction is set to its annotation, and the frame is counted.
- A frame is valid if its annotation is finite with a positive width and height and the target is
  not marked invisible. Invalid frames stay in the denominator; a protocol says what they count as.
- A prediction without width or height is replaced by the one before it, unless the annotation of
  its frame is missing.
- Predictions beyond the last annotation are cut off. Too few are refused by the `lasot` protocols;
  the others take an empty box at the origin for each missing one.
- Success is the share of frames whose overlap exceeds a threshold, strictly, at 21 thresholds from
  0 to 1; its area under the curve is their mean, so that a perfect tracker scores 20/21 = 95.24 %.
- Precision is the share of frames whose centre error is at most 20 pixels; normalised precision
  the share whose error, in units of the annotated width and height, is at most 0.20.
- A set's curve is the mean of its sequences' curves, whatever their lengths.

Sources: OTB (Wu, Lim and Yang, "Object Tracking Benchmark", TPAMI 2015) for success and precision,
TrackingNet (Mueller et al., ECCV 2018) for normalised precision, LaSOT (Fan et al., CVPR 2019) for
absent targets as failures. The `legacy` protocols repeat a habit of the evaluation code that the
field passes on: frames without a valid annotation count as hits of the normalised precision, which
published numbers inherit on sets with absent targets.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from asymtrack_jax import boxes
from asymtrack_jax.errors import InputError

# None lies below its multiple of 1/20 or 1/100: a ratio of integers that falls on a threshold is no
# success, and is precise.
OVERLAP_THRESHOLDS = np.linspace(0, 1, 21)
CENTRE_THRESHOLDS = np.arange(51) * 1.0  # pixels
NORM_CENTRE_THRESHOLDS = np.arange(51) / 100

_FAILURE, _HIT = math.inf, -1.0


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The rules in which protocols differ; the rest is common (see the module).

    Attributes:
        name: what the output calls it.
        refuse_short: whether fewer predictions than frames are an error, or empty boxes.
        invalid_centre_error: centre error given to invalid frames: infinite is a failure at every
            threshold, -1 a hit at every threshold.
        invalid_norm_centre_error: the same for the normalised centre error.
        invisible_fails: whether frames marked invisible are failures whatever the two above say.
    """

    name: str
    refuse_short: bool = False
    invalid_centre_error: float = _FAILURE
    invalid_norm_centre_error: float = _FAILURE
    invisible_fails: bool = False


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        # Absent targets are failures in all three measures.
        Protocol("lasot", refuse_short=True),
        Protocol("otb"),
        # As published numbers were made: `otb-legacy` for OTB, NFS, TNL2K and LaSOT_ext.
        Protocol(
            "lasot-legacy",
            refuse_short=True,
            invalid_norm_centre_error=_HIT,
            invisible_fails=True,
        ),
        Protocol("otb-legacy", invalid_norm_centre_error=_HIT),
        Protocol("uav-legacy", invalid_centre_error=_HIT, invalid_norm_centre_error=_HIT),
    )
}


@dataclasses.dataclass(frozen=True, eq=False)
class FrameErrors:
    """How far each of a sequence's N frames is off.

    Attributes:
        overlap: intersection over union in [0, 1]; -1 in invalid frames.
        centre: distance of the centres, pixels; in invalid frames as the protocol says.
        norm_centre: the same with x in units of the annotated width and y of its height.
        valid: which frames have an annotated, visible target.
    """

    overlap: Float[np.ndarray, " N"]
    centre: Float[np.ndarray, " N"]
    norm_centre: Float[np.ndarray, " N"]
    valid: Bool[np.ndarray, " N"]


@dataclasses.dataclass(frozen=True, eq=False)
class Curves:
    """Shares of frames, in [0, 1], at each threshold of the three measures."""

    success: Float[np.ndarray, " 21"]
    precision: Float[np.ndarray, " 51"]
    norm_precision: Float[np.ndarray, " 51"]


@dataclasses.dataclass(frozen=True)
class Scores:
    """The three numbers of a table, in percent."""

    success_auc: float
    precision: float
    norm_precision: float


def frame_errors(
    prediction: Float[np.ndarray, "M 4"],
    annotation: Float[np.ndarray, "N 4"],
    visible: Bool[np.ndarray, " N"] | None,
    protocol: Protocol,
) -> FrameErrors:
    """Compares a sequence's predicted with its annotated boxes, frame by frame.

    Args:
        prediction: xywh boxes in pixels, one a frame.
        annotation: xywh boxes in the same pixels; NaN, or no width or height, where absent.
        visible: False where the target cannot be seen, if the set says so.
        protocol: the rules.

    Raises:
        InputError: a prediction that is not finite or has a negative size, or fewer predictions
            than the protocol allows.
    """
    num_frames = len(annotation)
    if visible is None:
        visible = np.ones(num_frames, bool)
    prediction = _checked_prediction(prediction, annotation, protocol)

    valid = np.isfinite(annotation).all(axis=1) & (annotation[:, 2:] > 0).all(axis=1) & visible
    predicted, annotated = prediction[valid], annotation[valid]
    overlap = np.full(num_frames, -1.0)
    # Rounding may lift the overlap of equal boxes over 1, and so over the last threshold.
    overlap[valid] = np.minimum(boxes.iou(predicted, annotated), 1.0)
    centre = np.full(num_frames, protocol.invalid_centre_error)
    centre[valid] = _centre_distance(predicted, annotated, np.ones(2))
    norm_centre = np.full(num_frames, protocol.invalid_norm_centre_error)
    norm_centre[valid] = _centre_distance(predicted, annotated, annotated[:, 2:])
    if protocol.invisible_fails:
        centre[~visible] = norm_centre[~visible] = _FAILURE
    return FrameErrors(overlap, centre, norm_centre, valid)


def _checked_prediction(
    prediction: Float[np.ndarray, "M 4"], annotation: Float[np.ndarray, "N 4"], protocol: Protocol
) -> Float[np.ndarray, "N 4"]:
    """One usable box a frame: the rules on length, empty boxes and the first frame."""
    unusable = ~np.isfinite(prediction).all(axis=1) | (prediction[:, 2:] < 0).any(axis=1)
    if unusable.any():
        frame = int(unusable.argmax())
        raise InputError(
            f"predicted box {frame + 1} is {prediction[frame].tolist()}: "
            "boxes must be finite, with a width and height of at least 0"
        )
    missing = len(annotation) - len(prediction)
    if missing > 0 and protocol.refuse_short:
        raise InputError(
            f"{len(prediction)} predicted boxes for {len(annotation)} frames: "
            f"the {protocol.name} protocol wants one a frame"
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
    """Distance of the centres of xywh boxes, x and y each in its unit.

    The centre of whole pixels, divided before it is subtracted: between integer boxes distances of
    exactly 20 pixels or 0.20 are common, and only the field's order of operations rounds them to
    the field's side of the threshold.
    """
    centre_a = (a[:, :2] + 0.5 * (a[:, 2:] - 1)) / unit
    centre_b = (b[:, :2] + 0.5 * (b[:, 2:] - 1)) / unit
    return np.sqrt(np.sum((centre_a - centre_b) ** 2, axis=1))


def curves(errors: FrameErrors) -> Curves:
    """A sequence's curves; every frame is in the denominator."""
    return Curves(
        success=(errors.overlap[:, None] > OVERLAP_THRESHOLDS).mean(axis=0),
        precision=(errors.centre[:, None] <= CENTRE_THRESHOLDS).mean(axis=0),
        norm_precision=(errors.norm_centre[:, None] <= NORM_CENTRE_THRESHOLDS).mean(axis=0),
    )


def mean_curves(sequences: Sequence[Curves]) -> Curves:
    """The curves of a set: each sequence weighs the same."""
    return Curves(
        success=np.mean([sequence.success for sequence in sequences], axis=0),
        precision=np.mean([sequence.precision for sequence in sequences], axis=0),
        norm_precision=np.mean([sequence.norm_precision for sequence in sequences], axis=0),
    )


def scores(of: Curves) -> Scores:
    """The numbers that stand for the curves of a sequence or a set."""
    return Scores(
        success_auc=100 * float(of.success.mean()),
        precision=100 * float(of.precision[20]),  # 20 pixels
        norm_precision=100 * float(of.norm_precision[20]),  # 0.20
    )
