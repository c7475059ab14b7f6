"""Validation during training: losses on pairs, and tracking scores on whole sequences."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Float

from asymtrack_jax.config import ModelConfig, TrainConfig
from asymtrack_jax.data.augment import Batch
from asymtrack_jax.data.sequences import Frame, Sequence, Source
from asymtrack_jax.evaluation import protocols
from asymtrack_jax.evaluation.reliability import ScoredFrames, concatenated, scored_frames
from asymtrack_jax.images import normalise
from asymtrack_jax.models.asymtrack import AsymTrack
from asymtrack_jax.models.fuse import fuse
from asymtrack_jax.tracking.model import Model
from asymtrack_jax.tracking.tracker import Tracker
from asymtrack_jax.training.losses import box_losses
from asymtrack_jax.video.tracking import track_video

EvalStep = Callable[[Any, Batch], tuple[Float[Array, "B 4"], dict[str, Array]]]


def make_eval_step(model_config: ModelConfig, config: TrainConfig) -> EvalStep:
    """Returns a pure function of (variables, batch), to be jitted by the caller.

    The function takes variables of the training form and uint8 images, and returns the predicted
    boxes, cxcywh in normalised coordinates of the search crop, and the mean losses
    (`losses.Losses`). Batch norms use their running statistics, as in tracking.
    """
    network = AsymTrack(model_config)

    def eval_step(variables: Any, batch: Batch) -> tuple[Float[Array, "B 4"], dict[str, Array]]:
        template, search = normalise(batch.template), normalise(batch.search)
        boxes = network.apply(variables, template, search).boxes  # pyright: ignore[reportAttributeAccessIssue]
        losses = box_losses(
            boxes, batch.boxes, giou_weight=config.giou_weight, l1_weight=config.l1_weight
        )
        return boxes, vars(losses)

    return eval_step


def mean_losses(eval_step: EvalStep, variables: Any, batches: Iterable[Batch]) -> dict[str, float]:
    """Returns the mean of each loss over at least one batch."""
    losses = [eval_step(variables, batch)[1] for batch in batches]
    return {name: float(np.mean([each[name] for each in losses])) for name in losses[0]}


def track(
    config: ModelConfig, variables: Any, sequences: Iterable[Sequence]
) -> tuple[Mapping[str, float], ScoredFrames]:
    """Tracks sequences and scores the results by LaSOT's protocol.

    Args:
        config: sizes of the network.
        variables: variables of the training form.
        sequences: at least one annotated sequence.

    Returns:
        Percent by measure (`protocols.MEASURES`), and the frames with the network's scores, to
        which a calibration can be fitted.

    Raises:
        InputError: a frame cannot be read.
        FloatingPointError: the network's output is not finite.
    """
    # Called repeatedly with new weights: as constants they would be compiled each time.
    tracker = Tracker(Model(config, fuse(variables), constant=False))
    protocol = protocols.PROTOCOLS["lasot"]
    percent, frames = [], []
    for sequence in sequences:
        images = (sequence.frames[index] for index in range(len(sequence.frames)))
        steps = track_video(tracker, images, sequence.boxes[:1])
        tracked = [(step.bboxes, step.scores) for step in steps]
        boxes, scores = map(np.concatenate, zip(*tracked, strict=True))
        percent.append(protocol.score(boxes, sequence.boxes, sequence.visible))
        frames.append(scored_frames(sequence, boxes, scores))
    return protocols.overall(percent).percent, concatenated(frames)


def first_sequences(source: Source, count: int, num_frames: int) -> list[Sequence]:
    """Returns the first videos of a source, each from the first frame with a visible target.

    Args:
        source: indexed dataset; single images in it are skipped.
        count: maximum number of sequences.
        num_frames: maximum number of frames per sequence.
    """
    sequences = []
    for start, stop in zip(source.offsets, source.offsets[1:], strict=False):
        visible = np.flatnonzero(source.visible[start:stop])
        if len(sequences) == count or not len(visible):
            continue
        rows = range(int(start + visible[0]), int(min(stop, start + visible[0] + num_frames)))
        if len(rows) > 1:
            part = slice(rows.start, rows.stop)
            boxes, seen = source.boxes[part].astype(np.float64), np.array(source.visible[part])
            sequences.append(Sequence(source.frame_name(rows[0]), _Rows(source, rows), boxes, seen))
    return sequences


@dataclasses.dataclass(frozen=True)
class _Rows:
    """Consecutive frames of a source, decoded when they are indexed."""

    source: Source
    rows: range

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Frame:
        return self.source.read(self.rows[index])
