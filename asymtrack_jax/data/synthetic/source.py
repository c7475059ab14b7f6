"""Rendered sequences to train on, and others to evaluate on."""

import functools
from pathlib import Path

import numpy as np

from asymtrack_jax.config import Synthetic
from asymtrack_jax.data.sequences import IMAGE_SUFFIXES, Frame, Sequence
from asymtrack_jax.data.synthetic.render import Clip
from asymtrack_jax.data.synthetic.scene import RENDERED, Assets, make_scene
from asymtrack_jax.errors import InputError

_SINGLE, _TRAINING, _HELD_OUT = 1, 2, 3  # part of the seed: none of these share a clip


class SyntheticSource:
    """Rendered clips as a source of training pairs (`data.sequences.Source`).

    Clip i follows from the seed and i alone.

    Attributes:
        name: for messages.
        offsets: clip i is the rows `offsets[i]` to `offsets[i + 1]`.
        boxes: xywh in pixels; NaN where the target is outside the frame.
        visible: False where less than a fifth of the target shows.
    """

    def __init__(self, config: Synthetic, seed: int = 0):
        """Works out what every frame will show, without rendering any.

        Args:
            config: how many clips, of what size, made of what.
            seed: of all chance.

        Raises:
            InputError: a folder is missing or holds no images, or a cut-out cannot be used.
        """
        self.name = "synthetic"
        self._config, self._seed = config, seed
        clips = [_clip(config, seed, number) for number in range(config.num_sequences)]
        self.offsets = np.arange(config.num_sequences + 1, dtype=np.int64) * config.num_frames
        self.boxes = np.concatenate([clip.boxes for clip in clips], dtype=np.float32)
        self.visible = np.concatenate([clip.visible for clip in clips])

    def read(self, row: int) -> Frame:
        """Renders a frame.

        Raises:
            InputError: the clip's photograph cannot be read.
        """
        sequence, frame = divmod(row, self._config.num_frames)
        return _clip(self._config, self._seed, sequence)[frame]

    def frame_name(self, row: int) -> str:
        """The frame's name, for messages."""
        sequence, frame = divmod(row, self._config.num_frames)
        return f"frame {frame} of synthetic clip {sequence} of seed {self._seed}"


def render_clip(num_frames: int, size: tuple[int, int] = (240, 320), seed: int = 0) -> Clip:
    """A clip of frames of `size` (height, width), the same for the same seed.

    Its first frames do not depend on how many follow.

    Raises:
        InputError: no frames, or a side under 32 pixels.
    """
    _check(num_frames, size)
    return Clip(make_scene((seed, _SINGLE), size), num_frames)


def read_sequences(
    num_sequences: int = 20,
    num_frames: int = 100,
    size: tuple[int, int] = (240, 320),
    seed: int = 0,
    assets: Assets = RENDERED,
    least_difficulty: float = 0.0,
    same_kind: float = 0.0,
) -> list[Sequence]:
    """Sequences to evaluate on; no training clip of any seed is among them.

    Args:
        num_sequences: how many.
        num_frames: of each.
        size: height and width of the frames.
        seed: of all chance.
        assets: what scenes are made of.
        least_difficulty: of a scene, as `scene.make_scene` has it.
        same_kind: likewise.

    Raises:
        InputError: no sequences or frames, a side under 32 pixels, or a cut-out that cannot be
            used.
    """
    _check(num_frames, size)
    if num_sequences < 1:
        raise InputError(f"num_sequences must be positive, got {num_sequences}")
    sequences = []
    for number in range(num_sequences):
        key = seed, number, _HELD_OUT
        scene = make_scene(key, size, assets, least_difficulty, same_kind)
        clip = Clip(scene, num_frames)
        sequences.append(Sequence(f"synthetic_{number:03}", clip, clip.boxes, clip.visible))
    return sequences


def find_assets(cutouts: Path | None, backgrounds: Path | None) -> Assets:
    """Lists the images in two folders and all folders in them; None for neither.

    Raises:
        InputError: a folder is missing, or holds no images.
    """
    return Assets(_images(cutouts, "cut-outs"), _images(backgrounds, "backgrounds"))


def _images(directory: Path | None, what: str) -> tuple[Path, ...]:
    if directory is None:
        return ()
    paths = sorted(p for p in directory.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not directory.is_dir():
        raise InputError(f"the folder of {what}, {directory}, is not there")
    if not paths:
        suffixes = " ".join(sorted(IMAGE_SUFFIXES))
        raise InputError(f"the folder of {what}, {directory}, holds no images ({suffixes})")
    return tuple(paths)


def _check(num_frames: int, size: tuple[int, int]) -> None:
    if num_frames < 1 or min(size) < 32:
        raise InputError(
            f"a clip needs at least one frame and sides of 32 pixels, got {num_frames} of {size}"
        )


@functools.lru_cache(maxsize=32)
def _clip(config: Synthetic, seed: int, number: int) -> Clip:
    scene = make_scene(
        *((seed, number, _TRAINING), (config.height, config.width)),
        *(_assets(config.cutouts, config.backgrounds),),
        *(config.least_difficulty, config.same_kind),
    )
    return Clip(scene, config.num_frames)


_assets = functools.cache(find_assets)
