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
    """Options of `asymtrack render`.

    Attributes:
        output: folder to write into.
        num_sequences: number of sequences.
        num_frames: frames per sequence.
        height: height of the frames, pixels.
        width: width of the frames, pixels.
        seed: random seed.
        cutouts: folder of RGBA images of objects; by default objects are rendered.
        backgrounds: folder of photographs; by default backgrounds are rendered.
        min_difficulty: minimum difficulty of a sequence, from 0 (easy ones too) to 1 (hard only).
        same_class: fraction of the other objects that are cut-outs from the target's folder.
        jpeg_quality: quality of the images, 0 to 100.
    """

    output: Path
    num_sequences: int = 20
    num_frames: int = 100
    height: int = 240
    width: int = 320
    seed: int = 0
    cutouts: Path | None = None
    backgrounds: Path | None = None
    min_difficulty: float = 0.0
    same_class: float = 0.0
    jpeg_quality: int = 95


def main(arguments: Sequence[str]) -> None:
    """Renders the sequences and writes them."""
    options = parse(RenderOptions, arguments, "render", __doc__)
    if not 0 <= options.jpeg_quality <= 100:
        raise InputError(f"--jpeg-quality must be 0 to 100, got {options.jpeg_quality}")
    for name in ("min_difficulty", "same_class"):
        if not 0 <= getattr(options, name) <= 1:
            raise InputError(f"--{name.replace('_', '-')} must be 0 to 1")
    sequences = read_sequences(
        *(options.num_sequences, options.num_frames, (options.height, options.width)),
        options.seed,
        find_assets(options.cutouts, options.backgrounds),
        *(options.min_difficulty, options.same_class),
    )
    options.output.mkdir(parents=True, exist_ok=True)
    for sequence in tqdm(sequences, desc="sequences"):
        write_sequence(sequence, options.output / sequence.name, options.jpeg_quality)
