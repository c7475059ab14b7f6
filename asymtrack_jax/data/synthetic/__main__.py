"""Writes rendered sequences as a folder that `data.readers.folder` reads.

Each is `O/<sequence>/img/*.jpg` and `O/<sequence>/groundtruth.txt`, a line x,y,w,h a frame, nan
where less than a fifth of the target shows. They are the held-out sequences of
`evaluate.py --dataset synthetic`. An interrupted run goes on where it was stopped.
"""

import argparse
from collections.abc import Sequence as Arguments
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.data.synthetic.source import find_assets, read_sequences
from asymtrack_jax.errors import InputError, run_main
from asymtrack_jax.files import atomic_directory


def main(argv: Arguments[str] | None = None) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder to write into")
    parser.add_argument("--num-sequences", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--num-frames", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--height", type=int, default=240, help="pixels; default: %(default)s")
    parser.add_argument("--width", type=int, default=320, help="pixels; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--cutouts", type=Path, help="folder of RGBA images to paste")
    parser.add_argument("--backgrounds", type=Path, help="folder of photographs to paste on")
    parser.add_argument(
        "--least-difficulty", type=float, default=0.0, help="0 to 1; default: %(default)s"
    )
    parser.add_argument(
        "--same-kind",
        type=float,
        default=0.0,
        help="share of what moves beside a cut-out that comes from its folder; default: 0",
    )
    parser.add_argument("--jpeg-quality", type=int, default=95, help="default: %(default)s")
    args = parser.parse_args(argv)

    if not 0 <= args.jpeg_quality <= 100:
        raise InputError(f"--jpeg-quality must be 0 to 100, got {args.jpeg_quality}")
    for name in ("least_difficulty", "same_kind"):
        if not 0 <= getattr(args, name) <= 1:
            raise InputError(f"--{name.replace('_', '-')} must be 0 to 1")
    sequences = read_sequences(
        *(args.num_sequences, args.num_frames, (args.height, args.width), args.seed),
        find_assets(args.cutouts, args.backgrounds),
        *(args.least_difficulty, args.same_kind),
    )
    args.output.mkdir(parents=True, exist_ok=True)
    for sequence in tqdm(sequences, desc="sequences"):
        write_sequence(sequence, args.output / sequence.name, args.jpeg_quality)


def write_sequence(sequence: Sequence, folder: Path, jpeg_quality: int) -> None:
    """Writes a sequence's images and boxes, all or nothing; nothing if they are there already.

    Raises:
        InputError: the folder holds another sequence, or a frame's photograph cannot be read.
    """
    boxes = sequence.boxes.copy()
    if sequence.visible is not None:
        boxes[~sequence.visible] = np.nan
    text = "".join(",".join(f"{value:.3f}" for value in box) + "\n" for box in boxes)
    if folder.exists():
        annotation = folder / "groundtruth.txt"
        if not annotation.is_file() or annotation.read_text() != text:
            raise InputError(f"{folder} holds something else: choose another output, or remove it")
        return
    with atomic_directory(folder) as partial:
        (partial / "img").mkdir()
        for index in range(len(sequence.frames)):
            image = cv2.cvtColor(sequence.frames[index], cv2.COLOR_RGB2BGR)
            data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])[1]
            (partial / "img" / f"{index + 1:08}.jpg").write_bytes(data.tobytes())
        (partial / "groundtruth.txt").write_text(text)


if __name__ == "__main__":
    run_main(main)
