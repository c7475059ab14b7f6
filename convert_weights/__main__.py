"""`python -m convert_weights`: published PyTorch checkpoints in, or out again."""

import argparse
from pathlib import Path

from asymtrack_jax.config import VARIANTS
from asymtrack_jax.errors import run_main
from convert_weights.convert import from_pytorch, to_pytorch


def main() -> None:
    """Reads the command line, converts and prints a summary."""
    parser = argparse.ArgumentParser(
        prog="python -m convert_weights",
        description="Converts published PyTorch checkpoints for this project, and back. "
        "PyTorch is not needed, and nothing in a checkpoint is ever executed.",
    )
    parser.add_argument(
        "checkpoint",
        type=Path,
        help="file of torch.save, or with --to-pytorch a checkpoint directory",
    )
    parser.add_argument("--variant", choices=VARIANTS, help="which network the file is of")
    parser.add_argument(
        "--output", type=Path, required=True, help="directory, or with --to-pytorch file, to write"
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--backbone",
        action="store_true",
        help="the file is an ImageNet EfficientMod-xxs, not a tracker",
    )
    kind.add_argument(
        "--to-pytorch",
        action="store_true",
        help="the way back: write a safetensors file under the published names",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of what --backbone initialises freshly (default: 0)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an output that exists")
    args = parser.parse_args()
    if args.to_pytorch == bool(args.variant):
        parser.error("--variant is needed, except with --to-pytorch, which reads it")
    if args.to_pytorch:
        summary = to_pytorch(args.checkpoint, args.output, overwrite=args.overwrite)
    else:
        summary = from_pytorch(
            args.checkpoint,
            args.variant,
            args.output,
            backbone=args.backbone,
            seed=args.seed,
            overwrite=args.overwrite,
        )
    print(summary)


if __name__ == "__main__":
    run_main(main)
