"""Which two frames make a training pair: causal, close in time, the target visible in both."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from asymtrack_jax.data.sequences import Source
from asymtrack_jax.errors import InputError

LEAST_FRAMES = 20  # the published sampler passes over shorter videos,
_LEAST_VISIBLE = 5  # and those with fewer frames that show the target


class FramePair(NamedTuple):
    """Two frames of one sequence, as rows of a source; the same twice for a still."""

    source: int
    template: int
    search: int


class PairSampler:
    """Draws pairs: first a source by its share, then one of its sequences, then the frames.

    The template's frame is any visible one that another follows within the gap, and the search
    frame any of those. The published sampler draws so too, but widens the gap where none follows.

    Attributes:
        sources: the data sets.
        max_gap: most frames from the template to the search frame.
    """

    def __init__(self, sources: Sequence[Source], ratio: Sequence[float], max_gap: int = 200):
        """Finds the sequences that pairs can be drawn from.

        Args:
            sources: at least one.
            ratio: each source's share of the pairs, in any unit.
            max_gap: frames, at least 1.

        Raises:
            InputError: shares that are not positive or not one a source, no gap, or a source
                without a usable sequence.
        """
        if not sources or len(ratio) != len(sources) or min(ratio) <= 0:
            raise InputError(
                f"expected one positive share for each of {len(sources)} data sets, at least one; "
                f"got {list(ratio)}"
            )
        if max_gap < 1:
            raise InputError(f"max_gap must be at least 1 frame, got {max_gap}")
        self.sources = tuple(sources)
        self.max_gap = max_gap
        self._bounds = np.cumsum(ratio) / np.sum(ratio)
        self._usable = [_usable_sequences(source, max_gap) for source in sources]

    def draw(self, rng: np.random.Generator) -> FramePair:
        """Draws a pair; a generator in one state always gives the same one."""
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
    """The source of all chance in one record, whichever process makes it, and in any order."""
    return np.random.default_rng((seed, record))


def num_visible(source: Source) -> Int64[np.ndarray, " S"]:
    """How many frames of each sequence show its target."""
    seen = np.concatenate([[0], np.cumsum(source.visible, dtype=np.int64)])
    return np.diff(seen[source.offsets])


def _usable_sequences(source: Source, max_gap: int) -> Int64[np.ndarray, " U"]:
    offsets, visible = source.offsets, source.visible
    lengths, shown = np.diff(offsets), num_visible(source)
    stills = (lengths == 1) & (shown == 1)
    videos = (lengths >= LEAST_FRAMES) & (shown >= _LEAST_VISIBLE)
    for sequence in np.flatnonzero(videos):
        videos[sequence] = _has_pair(visible[offsets[sequence] : offsets[sequence + 1]], max_gap)
    usable = np.flatnonzero(stills | videos)
    if not len(usable):
        raise InputError(
            f"no usable sequence in {source.name}: none is a still or has at least {LEAST_FRAMES} "
            f"frames, {_LEAST_VISIBLE} of them with a visible target, two within {max_gap} frames"
        )
    return usable


def _has_pair(visible: Bool[np.ndarray, " N"], max_gap: int) -> bool:
    return bool((np.diff(np.flatnonzero(visible)) <= max_gap).any())
