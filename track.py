"""Follows targets through a video file, a folder of images or what a camera sees.

Writes an annotated video and, beside it under the same name in .txt, the boxes: a line a frame with
x,y,w,h,score of each target; the first line holds the given boxes with score 1. Ctrl-C stops after
the frame in work, keeps what was done, and exits with status 130.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import asymtrack_jax
from asymtrack_jax.compilation import keep_compiled
from asymtrack_jax.config import model_config
from asymtrack_jax.errors import run_main
from asymtrack_jax.tracking.follow import choose_bboxes, follow_to_files, summary
from asymtrack_jax.tracking.model import from_scratch
from asymtrack_jax.tracking.video import VideoWriter, open_source

UNTRAINED = "untrained weights: boxes follow nothing"
ADVICE = f"""{UNTRAINED}; this only shows that everything runs.
To track, convert the published weights and pass them:
  python -m convert_weights CHECKPOINT --variant tiny --output checkpoints/tiny
  python track.py INPUT --checkpoint checkpoints/tiny"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", nargs="?", help="default: a rendered clip with known boxes")
    bbox_help = "a target in the first frame, pixels; may be repeated; default: draw it"
    parser.add_argument(
        "--init-bbox", action="append", default=[], metavar="X,Y,W,H", help=bbox_help
    )
    parser.add_argument("--checkpoint", help="a converted checkpoint; default: untrained weights")
    parser.add_argument("--output", default="track.mp4", help="default: %(default)s; or .avi")
    parser.add_argument("--show", action="store_true", help="show it in a window too; q stops")
    args = parser.parse_args(argv)

    source = open_source(args.input)
    video = VideoWriter(Path(args.output), source.fps)
    if args.checkpoint:
        model, notice = asymtrack_jax.load(args.checkpoint), ""
    else:
        print(ADVICE, file=sys.stderr)
        model, notice = from_scratch(model_config("tiny")), UNTRAINED
    init_bboxes = choose_bboxes(args.init_bbox, source)
    tracker = asymtrack_jax.Tracker(model)
    tracks = follow_to_files(tracker, source, init_bboxes, video, notice=notice, show=args.show)
    print(summary(tracks, source, video.path))
    return 130 if tracks.interrupted else 0


if __name__ == "__main__":
    keep_compiled()
    run_main(main)
