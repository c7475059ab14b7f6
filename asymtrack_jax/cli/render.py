"""Renders synthetic sequences with exact ground truth, for evaluation and training.

  $ asymtrack render --output O --num-sequences 20

Each is O/<sequence>/img/*.jpg and O/<sequence>/groundtruth.txt, one line x,y,w,h per frame, nan
where less than a fifth of the target shows. By default they are the held-out clips of `asymtrack
evaluate`. An interrupted run is resumed by the same command.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from asymtrack_jax.cli.arguments import parse
from asymtrack_jax.data.synthetic.source import find_assets, read_sequences
from asymtrack_jax.data.synthetic.writing import write_sequence
from asymtrack_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class RenderOptions:
    """What to render.

    Attributes:
        output: folder to write into.
        num_sequences: number of clips.
        num_frames: frames per clip.
        height: of the frames, pixels.
        width: of the frames, pixels.
        seed: random seed.
        cutouts: folder of RGBA images to paste; by default rendered objects.
        backgrounds: folder of photographs to paste on; by default rendered ones.
        least_difficulty: 0 to 1; the clips are at least this hard.
        same_kind: 0 to 1, share of the distractors of a cut-out that come from its own folder.
        jpeg_quality: 0 to 100.
    """

    output: Path
    num_sequences: int = 20
    num_frames: int = 100
    height: int = 240
    width: int = 320
    seed: int = 0
    cutouts: Path | None = None
    backgrounds: Path | None = None
    least_difficulty: float = 0.0
    same_kind: float = 0.0
    jpeg_quality: int = 95


def main(arguments: Sequence[str]) -> None:
    """Renders and writes."""
    options = parse(RenderOptions, arguments, "render", __doc__)
    if not 0 <= options.jpeg_quality <= 100:
        raise InputError(f"--jpeg-quality must be 0 to 100, got {options.jpeg_quality}")
    for name in ("least_difficulty", "same_kind"):
        if not 0 <= getattr(options, name) <= 1:
            raise InputError(f"--{name.replace('_', '-')} must be 0 to 1")
    sequences = read_sequences(
        *(options.num_sequences, options.num_frames, (options.height, options.width)),
        options.seed,
        find_assets(options.cutouts, options.backgrounds),
        *(options.least_difficulty, options.same_kind),
    )
    options.output.mkdir(parents=True, exist_ok=True)
    for sequence in tqdm(sequences, desc="sequences"):
        write_sequence(sequence, options.output / sequence.name, options.jpeg_quality)
