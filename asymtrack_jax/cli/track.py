"""Tracks targets in a video, and writes an annotated video and a file of boxes.

  $ asymtrack track clip.mp4 --init-bbox 120,80,60,90 --output out.mp4

The input is a video file, a folder of images, a folder with img/ and groundtruth.txt (whose first
box is then tracked, and the true boxes are drawn too), a camera's index, a URL (rtsp, http) or a
GStreamer pipeline. Boxes are x, y, w, h in pixels; frames and targets count from 0. Ctrl-C stops
after the current frame, keeps the output so far, and exits with status 130.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import tyro

from asymtrack_jax.cli.arguments import parse
from asymtrack_jax.cli.native import suggest_native_kernels
from asymtrack_jax.tracking.model import load
from asymtrack_jax.tracking.tracker import Tracker
from asymtrack_jax.video.sources import DEFAULT_SEED, open_source
from asymtrack_jax.video.tracking import choose_bboxes, summary, track_to_files
from asymtrack_jax.video.tracks import boxes_path
from asymtrack_jax.video.writers import open_writer
from asymtrack_jax.weights import TINY


@dataclasses.dataclass(frozen=True)
class TrackOptions:
    """Options of `asymtrack track`.

    Attributes:
        input: the video; by default a rendered clip with known boxes.
        init_bbox: x,y,w,h of a target in the first frame, pixels; repeat it for several targets. By
            default the first true box, or a box that you draw in a window.
        checkpoint: directory of the checkpoint; by default the packaged weights.
        seed: random seed of the rendered clip.
        output: annotated video to write: .mp4, .mkv, .avi or .gif.
        boxes: file of boxes: .txt (one line per frame with x,y,w,h,score of each target), .csv or
            .jsonl (one line per frame and target, with frame, target and lost too). By default the
            output's name with .txt. `asymtrack evaluate --results` reads all three.
        show: also show the video in a window; keys pause it, and add, redraw and remove targets.
    """

    input: tyro.conf.Positional[str | None] = None
    init_bbox: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    checkpoint: Path = TINY
    seed: int = DEFAULT_SEED
    output: Path = Path("track.mp4")
    boxes: Path | None = None
    show: bool = False


def main(arguments: Sequence[str]) -> int:
    """Tracks the targets, writes both files, and prints a summary; returns the exit status."""
    options = parse(TrackOptions, arguments, "track", __doc__)
    source = open_source(options.input, options.seed)
    if options.init_bbox:  # the true boxes may be of another target
        source = dataclasses.replace(source, truth=None)
    video = open_writer(options.output, source.fps)
    boxes = boxes_path(options.output, options.boxes)
    suggest_native_kernels()
    tracker = Tracker(load(options.checkpoint))
    init_bboxes = choose_bboxes(options.init_bbox, source)
    tracked = track_to_files(tracker, source, init_bboxes, video, boxes, show=options.show)
    print(summary(tracked, source, video.path, boxes))
    return 130 if tracked.interrupted else 0
