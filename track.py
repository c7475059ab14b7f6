"""Follows targets through a video file, a folder of images or what a camera sees.

Writes an annotated video and, beside it under the same name in .txt, the boxes: a line a frame with
x,y,w,h,score of each target; the first line holds the given boxes with score 1. Ctrl-C stops after
the frame in work, keeps what was done, and exits with status 130.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import asymtrack_jax
from asymtrack_jax.compilation import keep_compiled
from asymtrack_jax.errors import run_main
from asymtrack_jax.tracking.recovery import choose_recovery
from asymtrack_jax.video.follow import choose_bboxes, follow_to_files, summary
from asymtrack_jax.video.sources import open_source
from asymtrack_jax.video.writers import open_writer
from asymtrack_jax.weights import TINY


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", nargs="?", help="default: a rendered clip with known boxes")
    bbox_help = "a target in the first frame, pixels; may be repeated; default: draw it"
    parser.add_argument(
        "--init-bbox", action="append", default=[], metavar="X,Y,W,H", help=bbox_help
    )
    checkpoint_help = "its directory; default: the weights in the package"
    parser.add_argument("--checkpoint", default=TINY, help=checkpoint_help)
    recover_help = "when the score stays low, search wider and say so: see tracking/recovery.py"
    parser.add_argument("--recover", action="store_true", help=recover_help)
    parser.add_argument("--seed", type=int, default=3, help="of the rendered clip; default: 3")
    parser.add_argument("--output", default="track.mp4", help="default: %(default)s; .avi or .gif")
    parser.add_argument("--show", action="store_true", help="show it in a window too; q stops")
    args = parser.parse_args(argv)

    source = open_source(args.input, args.seed)
    video = open_writer(Path(args.output), source.fps)
    model = asymtrack_jax.load(args.checkpoint)
    tracker = asymtrack_jax.Tracker(model, choose_recovery(args.recover, model))
    init_bboxes = choose_bboxes(args.init_bbox, source)
    tracks = follow_to_files(tracker, source, init_bboxes, video, show=args.show)
    print(summary(tracks, source, video.path))
    return 130 if tracks.interrupted else 0


if __name__ == "__main__":
    keep_compiled()
    run_main(main)
