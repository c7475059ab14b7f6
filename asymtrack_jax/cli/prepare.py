"""Prepares a dataset for training: its images in a few ArrayRecord files, whole or cropped.

  $ asymtrack prepare --dataset lasot --data-dir D --output R/lasot
  $ asymtrack prepare --dataset lasot --data-dir D --output R/lasot --crops

Training then reads this folder instead of the original: `--config.data.roots.lasot=R/lasot`.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from asymtrack_jax.cli.arguments import parse
from asymtrack_jax.data.datasets import read_index
from asymtrack_jax.data.pipeline import num_cores
from asymtrack_jax.data.prepare import CropOptions, prepare_crops, prepare_frames
from asymtrack_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class PrepareOptions:
    """Options of `asymtrack prepare`.

    Attributes:
        dataset: name of the dataset, as in `config.data.sources`.
        data_dir: folder of the dataset, in its original layout.
        output: folder to write; it must not exist.
        crops: store crops around the targets instead of whole frames.
        crop: sizes and encoding of the crops, with `--crops`.
        num_threads: number of threads that decode and crop; by default the number of cores.
    """

    dataset: str
    data_dir: Path
    output: Path
    crops: bool = False
    crop: Annotated[CropOptions, tyro.conf.arg(name="")] = dataclasses.field(
        default_factory=CropOptions
    )
    num_threads: int = dataclasses.field(default_factory=num_cores)


def main(arguments: Sequence[str]) -> None:
    """Prepares the dataset, and prints the numbers of sequences and frames.

    Raises:
        InputError: an option is invalid, or the dataset cannot be read or cropped.
    """
    options = parse(PrepareOptions, arguments, "prepare", __doc__)
    _check(options)
    index = read_index(options.dataset, options.data_dir)
    if options.crops:
        index = prepare_crops(
            index, options.dataset, options.output, options.crop, options.num_threads
        )
    else:
        prepare_frames(index, options.dataset, options.output)
    print(f"{options.output}: {len(index)} sequences, {len(index.boxes)} frames")


def _check(options: PrepareOptions) -> None:
    """Raises `InputError` for the first invalid option, before the dataset is read."""
    if options.num_threads < 1:
        raise InputError(f"--num-threads must be at least 1, got {options.num_threads}")
    if not options.crops and options.crop != CropOptions():
        raise InputError("sizes, numbers and quality of crops need --crops")
    if options.output.exists():
        raise InputError(f"--output {options.output} exists already: choose a new folder")
