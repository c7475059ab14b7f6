"""Rendered sequences for training, and held-out ones for evaluation."""

import functools
from pathlib import Path

import numpy as np

from asymtrack_jax.config import Synthetic
from asymtrack_jax.data.sequences import IMAGE_SUFFIXES, Frame, Sequence
from asymtrack_jax.data.synthetic.render import Clip
from asymtrack_jax.data.synthetic.scene import Assets, make_scene
from asymtrack_jax.errors import InputError

_SINGLE, _TRAINING, _HELD_OUT = 1, 2, 3  # part of the seed, so that these share no clip
HELD_OUT = Synthetic(num_sequences=20, num_frames=100)  # the clips of `asymtrack evaluate`


class SyntheticSource:
    """Rendered clips as a source of training pairs (`data.sequences.Source`).

    Clip i is determined by the seed and i.

    Attributes:
        name: name of the source in messages.
        offsets: clip i is the rows `offsets[i]` to `offsets[i + 1]`.
        boxes: xywh in pixels; NaN where the target is outside the frame.
        visible: whether at least a fifth of the target is visible.
    """

    def __init__(self, config: Synthetic, seed: int = 0):
        """Computes the boxes of all frames, without rendering.

        Args:
            config: number, size and content of the clips.
            seed: random seed.

        Raises:
            InputError: a folder is missing or holds no images, or a cut-out is invalid.
        """
        self.name = "synthetic"
        self._config, self._seed = config, seed
        clips = [_clip(config, seed, number, _TRAINING) for number in range(config.num_sequences)]
        self.offsets = np.arange(config.num_sequences + 1, dtype=np.int64) * config.num_frames
        self.boxes = np.concatenate([clip.boxes for clip in clips], dtype=np.float32)
        self.visible = np.concatenate([clip.visible for clip in clips])

    def read(self, row: int) -> Frame:
        """Renders the frame of a row, uint8 RGB.

        Raises:
            InputError: the photograph of the background cannot be read.
        """
        sequence, frame = divmod(row, self._config.num_frames)
        return _clip(self._config, self._seed, sequence, _TRAINING)[frame]

    def frame_name(self, row: int) -> str:
        """Names a row's frame for messages."""
        sequence, frame = divmod(row, self._config.num_frames)
        return f"frame {frame} of synthetic clip {sequence} of seed {self._seed}"


def render_clip(num_frames: int, size: tuple[int, int] = (240, 320), seed: int = 0) -> Clip:
    """Returns a clip, determined by the seed; its first frames do not depend on their number.

    Args:
        num_frames: number of frames, at least 1.
        size: height and width of the frames, at least 32 pixels.
        seed: random seed.

    Raises:
        InputError: there are no frames, or a side is under 32 pixels.
    """
    if num_frames < 1 or min(size) < 32:
        raise InputError(
            f"a clip needs at least one frame and sides of 32 pixels, got {num_frames} of {size}"
        )
    return Clip(make_scene((seed, _SINGLE), size), num_frames)


def read_sequences(config: Synthetic = HELD_OUT, seed: int = 0) -> list[Sequence]:
    """Returns sequences for evaluation; none is a training clip of any seed.

    Args:
        config: number, size and content of the sequences.
        seed: random seed.

    Raises:
        InputError: a folder is missing or holds no images, or a cut-out is invalid.
    """
    clips = [_clip(config, seed, number, _HELD_OUT) for number in range(config.num_sequences)]
    return [
        Sequence(f"synthetic_{number:03}", clip, clip.boxes, clip.visible)
        for number, clip in enumerate(clips)
    ]


def find_assets(cutouts: Path | None, backgrounds: Path | None) -> Assets:
    """Lists the images in two folders recursively; none for a folder that is None.

    Raises:
        InputError: a folder is missing, or holds no images.
    """
    return Assets(_images(cutouts, "cut-outs"), _images(backgrounds, "backgrounds"))


def _images(directory: Path | None, what: str) -> tuple[Path, ...]:
    if directory is None:
        return ()
    paths = sorted(p for p in directory.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not directory.is_dir():
        raise InputError(f"the folder of {what}, {directory}, does not exist")
    if not paths:
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"the folder of {what}, {directory}, holds no images ({suffixes})")
    return tuple(paths)


@functools.lru_cache(maxsize=32)
def _clip(config: Synthetic, seed: int, number: int, purpose: int) -> Clip:
    scene = make_scene(
        *((seed, number, purpose), (config.height, config.width)),
        *(_assets(config.cutouts, config.backgrounds),),
        *(config.min_difficulty, config.same_class),
    )
    return Clip(scene, config.num_frames)


_assets = functools.cache(find_assets)
