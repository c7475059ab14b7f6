"""Samples the two frames of a training pair: causal, close in time, with a visible target."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from asymtrack_jax.data.sequences import Source
from asymtrack_jax.errors import InputError

MIN_FRAMES = 20  # the published sampler skips shorter videos
_MIN_VISIBLE = 5  # and videos with fewer frames in which the target is visible


class FramePair(NamedTuple):
    """Two frames of one sequence.

    Attributes:
        source: number of the source.
        template: row of the template's frame in the source.
        search: row of the search frame; equals `template` for a still.
    """

    source: int
    template: int
    search: int


class PairSampler:
    """Samples pairs: first a source by its weight, then a sequence, then the frames.

    The template's frame is drawn from the visible frames that another visible one follows within
    the gap, and the search frame from those that follow. The published sampler differs only where
    none follows: it widens the gap.

    Attributes:
        sources: the datasets.
        max_gap: maximum number of frames from the template to the search frame.
    """

    def __init__(self, sources: Sequence[Source], ratio: Sequence[float], max_gap: int = 200):
        """Finds the usable sequences.

        Args:
            sources: at least one dataset.
            ratio: relative sampling weight of each source, positive.
            max_gap: maximum number of frames from the template to the search frame, at least 1.

        Raises:
            InputError: a weight is not positive, the number of weights is not that of sources, the
                gap is 0, or a source has no usable sequence.
        """
        if not sources or len(ratio) != len(sources) or min(ratio) <= 0:
            raise InputError(
                f"expected one positive share for each of {len(sources)} datasets, at least one; "
                f"got {list(ratio)}"
            )
        if max_gap < 1:
            raise InputError(f"max_gap must be at least 1 frame, got {max_gap}")
        self.sources = tuple(sources)
        self.max_gap = max_gap
        self._bounds = np.cumsum(ratio) / np.sum(ratio)
        self._usable = [_usable_sequences(source, max_gap) for source in sources]

    def draw(self, rng: np.random.Generator) -> FramePair:
        """Draws a pair; it is determined by the state of the generator."""
        source = int(np.searchsorted(self._bounds, rng.random(), side="right"))
        sequence = int(rng.choice(self._usable[source]))
        first, end = self.sources[source].offsets[sequence : sequence + 2].tolist()
        if end - first == 1:
            return FramePair(source, first, first)
        visible = np.flatnonzero(self.sources[source].visible[first:end])
        template = rng.choice(visible[:-1][np.diff(visible) <= self.max_gap])
        follows = (visible > template) & (visible <= template + self.max_gap)
        search = rng.choice(visible[follows])
        return FramePair(source, first + int(template), first + int(search))


def record_generator(seed: int, record: int) -> np.random.Generator:
    """Returns the random generator of one record, independent of processes and order."""
    return np.random.default_rng((seed, record))


def num_visible(source: Source) -> Int64[np.ndarray, " S"]:
    """Counts the frames of each sequence in which the target is visible."""
    seen = np.concatenate([[0], np.cumsum(source.visible, dtype=np.int64)])
    return np.diff(seen[source.offsets])


def _usable_sequences(source: Source, max_gap: int) -> Int64[np.ndarray, " U"]:
    offsets, visible = source.offsets, source.visible
    lengths, shown = np.diff(offsets), num_visible(source)
    stills = (lengths == 1) & (shown == 1)
    videos = (lengths >= MIN_FRAMES) & (shown >= _MIN_VISIBLE)
    for sequence in np.flatnonzero(videos):
        videos[sequence] = _has_pair(visible[offsets[sequence] : offsets[sequence + 1]], max_gap)
    usable = np.flatnonzero(stills | videos)
    if not len(usable):
        raise InputError(
            f"no usable sequence in {source.name}: none is a still or has at least {MIN_FRAMES} "
            f"frames, {_MIN_VISIBLE} of them with a visible target, two within {max_gap} frames"
        )
    return usable


def _has_pair(visible: Bool[np.ndarray, " N"], max_gap: int) -> bool:
    return bool((np.diff(np.flatnonzero(visible)) <= max_gap).any())
