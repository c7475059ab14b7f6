"""Prepares a dataset for training: its images in a few ArrayRecord files, whole or cropped.

  $ asymtrack prepare --dataset lasot --data-dir D --output R/lasot
  $ asymtrack prepare --dataset lasot --data-dir D --output R/lasot --crops

Training then takes the folder in place of the original: `--config.data.roots.lasot=R/lasot`.
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


@dataclasses.dataclass(frozen=True)
class PrepareOptions:
    """What to prepare.

    Attributes:
        dataset: name of the dataset, as in `config.data.sources`.
        data_dir: its folder, in the original layout.
        output: a new folder.
        crops: keep crops around the targets instead of whole frames.
        crop: what is kept, with `--crops`.
        num_threads: threads that decode and crop; by default as many as there are cores.
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
    """Prepares, and prints what was written."""
    options = parse(PrepareOptions, arguments, "prepare", __doc__)
    index = read_index(options.dataset, options.data_dir)
    if options.crops:
        index = prepare_crops(
            index, options.dataset, options.output, options.crop, options.num_threads
        )
    else:
        prepare_frames(index, options.dataset, options.output)
    print(f"{options.output}: {len(index)} sequences, {len(index.boxes)} frames")
