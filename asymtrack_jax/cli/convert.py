"""Imports a published PyTorch checkpoint, or exports one to the published names.

  $ asymtrack convert AsymTrack_tiny.pth.tar --variant tiny --output checkpoints/tiny
  $ asymtrack convert checkpoints/tiny --to-pytorch --output tiny.safetensors

PyTorch is not needed, and nothing in a checkpoint is ever executed.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import tyro

from asymtrack_jax.cli.arguments import parse
from asymtrack_jax.convert.convert import from_pytorch, to_pytorch
from asymtrack_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class ConvertOptions:
    """Options of `asymtrack convert`.

    Attributes:
        checkpoint: file written by `torch.save`, or with --to-pytorch a checkpoint directory.
        output: directory to write, or with --to-pytorch a safetensors file.
        variant: variant of the network; PyTorch files do not record it.
        backbone: the file is an ImageNet checkpoint of EfficientMod-xxs, not a tracker.
        to_pytorch: export to the published names instead.
        seed: random seed of the weights outside the backbone, with --backbone.
        overwrite: replace an output that exists.
    """

    checkpoint: tyro.conf.Positional[Path]
    output: Path
    variant: Literal["tiny", "small", "base", "testing"] | None = None
    backbone: bool = False
    to_pytorch: bool = False
    seed: int = 0
    overwrite: bool = False


def main(arguments: Sequence[str]) -> None:
    """Converts the checkpoint, and prints a summary."""
    options = parse(ConvertOptions, arguments, "convert", __doc__)
    if options.to_pytorch:
        if options.backbone or options.variant:
            raise InputError("--to-pytorch takes neither --variant nor --backbone")
        print(to_pytorch(options.checkpoint, options.output, overwrite=options.overwrite))
        return
    if options.variant is None:
        raise InputError("--variant is needed: tiny, small or base (the file does not record it)")
    print(
        from_pytorch(
            options.checkpoint,
            options.variant,
            options.output,
            backbone=options.backbone,
            seed=options.seed,
            overwrite=options.overwrite,
        )
    )
