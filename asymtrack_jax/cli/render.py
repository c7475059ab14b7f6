"""Renders synthetic sequences with exact ground truth, for evaluation and training.

  $ asymtrack render --output O --num-sequences 20

Each is O/<sequence>/img/*.jpg and O/<sequence>/groundtruth.txt, one line x,y,w,h per frame, nan
where less than a fifth of the target shows. By default they are the held-out clips of `asymtrack
evaluate`. An interrupted run is resumed by the same command.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from asymtrack_jax.cli.arguments import parse
from asymtrack_jax.config import Synthetic
from asymtrack_jax.data.synthetic.source import HELD_OUT, read_sequences
from asymtrack_jax.data.synthetic.writing import write_sequence
from asymtrack_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class RenderOptions:
    """Options of `asymtrack render`.

    Attributes:
        output: folder to write into.
        clips: number, size and content of the sequences.
        seed: random seed.
        jpeg_quality: quality of the images, 0 to 100.
    """

    output: Path
    clips: Annotated[Synthetic, tyro.conf.arg(name="")] = HELD_OUT
    seed: int = 0
    jpeg_quality: int = 95


def main(arguments: Sequence[str]) -> None:
    """Renders the sequences and writes them."""
    options = parse(RenderOptions, arguments, "render", __doc__)
    if not 0 <= options.jpeg_quality <= 100:
        raise InputError(f"--jpeg-quality must be 0 to 100, got {options.jpeg_quality}")
    sequences = read_sequences(options.clips, options.seed)
    options.output.mkdir(parents=True, exist_ok=True)
    for sequence in tqdm(sequences, desc="sequences"):
        write_sequence(sequence, options.output / sequence.name, options.jpeg_quality)
