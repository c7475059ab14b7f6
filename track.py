"""Follows targets through a video and writes an annotated video and a file of boxes.

The input is a video file, a folder of images, a folder with img/ and groundtruth.txt (whose first
box is then followed, and the true boxes are drawn too), a camera's index, a URL (rtsp, http) or a
GStreamer pipeline. Boxes are x, y, w, h in pixels; frames and targets count from 0. The file of
boxes is .txt (a line per frame: x,y,w,h,score of each target), .csv or .jsonl (a line per frame and
target, with frame, target and lost too); `evaluate.py --results` reads all three. Ctrl-C stops
after the frame in work, keeps what was done, and exits with status 130.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import asymtrack_jax
from asymtrack_jax.compilation import keep_compiled
from asymtrack_jax.errors import run_main
from asymtrack_jax.tracking.recovery import choose_recovery
from asymtrack_jax.video.follow import choose_bboxes, follow_to_files, summary
from asymtrack_jax.video.sources import open_source
from asymtrack_jax.video.tracks import boxes_path
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
    output_help = "default: %(default)s; or .mkv, .avi, .gif"
    parser.add_argument("--output", type=Path, default="track.mp4", help=output_help)
    boxes_help = ".txt, .csv or .jsonl; default: the output's name in .txt"
    parser.add_argument("--boxes", type=Path, help=boxes_help)
    show_help = "show it in a window too, where keys pause, and add, redraw and remove targets"
    parser.add_argument("--show", action="store_true", help=show_help)
    args = parser.parse_args(argv)

    source = open_source(args.input, args.seed)
    if args.init_bbox:  # of whatever target
        source = dataclasses.replace(source, truth=None)
    video = open_writer(args.output, source.fps)
    boxes = boxes_path(args.output, args.boxes)
    model = asymtrack_jax.load(args.checkpoint)
    tracker = asymtrack_jax.Tracker(model, choose_recovery(args.recover, model))
    init_bboxes = choose_bboxes(args.init_bbox, source)
    followed = follow_to_files(tracker, source, init_bboxes, video, boxes, show=args.show)
    print(summary(followed, source, video.path, boxes))
    return 130 if followed.interrupted else 0


if __name__ == "__main__":
    keep_compiled()
    run_main(main)
