"""Labels videos that have no annotations, with a detector and a tracker, as training data.

python -m recipes.packaged_weights.label_video --videos D --output O --detector yolox_nano.onnx \
    --tracker "opencv:nano?backbone=PATH&neckhead=PATH"

Every detection in the first frame of a segment of a video is tracked to the segment's end and from
there back again. Frames in which both directions overlap are labelled. The track is kept if the
detector confirms enough of its frames, and the target moves. `asymtrack prepare --dataset folder
--data-dir O --crops` reads the result.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import tqdm
import tyro
from jaxtyping import Float

from asymtrack_jax.boxes import cxcywh_to_xywh, iou
from asymtrack_jax.data.sequences import Frame, Sequence
from asymtrack_jax.data.synthetic.writing import write_sequence
from asymtrack_jax.errors import InputError, run_main
from asymtrack_jax.evaluation.trackers import Factory, Tracker, make_factory
from asymtrack_jax.video.sources import open_source

SUFFIXES = {".avi", ".gif", ".mkv", ".mov", ".mp4", ".webm"}
RATE = 12  # frames per second that are labelled
LONGEST_SIDE = 720  # pixels of a labelled frame
SEGMENT_FRAMES = 56
LEAST_FRAMES = 10  # labelled frames of a track
MOST_TRACKS = 3  # per segment
QUALITY = 90  # of the JPEGs

Boxes = Float[np.ndarray, "N 4"]  # xywh in pixels
Detector = Callable[[Frame], Boxes]  # boxes by descending score


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of the command.

    Attributes:
        videos: folder of videos, in subfolders too.
        output: new folder with one sequence per track.
        detector: YOLOX network in ONNX, as its authors export it.
        tracker: tracker as in `asymtrack evaluate --tracker`, with scores.
    """

    videos: Path
    output: Path
    detector: Path
    tracker: str


def label_videos(videos: Path, output: Path, detect: Detector, factory: Factory) -> int:
    """Writes one sequence per track: `NAME/img/NNNNNNNN.jpg` and `NAME/groundtruth.txt`.

    Each appears when it is complete. Videos that cannot be read are reported and passed over.

    Returns:
        The number of tracks.

    Raises:
        InputError: there are no videos, `output` exists, or the tracker gives no scores.
    """
    paths = sorted(path for path in videos.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise InputError(f"no videos ({', '.join(sorted(SUFFIXES))}) in {videos}")
    if output.exists():
        raise InputError(f"--output {output} exists: choose a new folder")
    _require_scores(factory)
    count = 0
    with tqdm.tqdm(paths, unit="video") as progress:
        for number, path in enumerate(progress):
            try:
                for frames in segments(read(path)):
                    for boxes in label(frames, detect, factory):
                        name = f"{number:05d}_{path.stem}_{count:06d}"
                        write_sequence(Sequence(name, frames, boxes), output / name, QUALITY)
                        count += 1
            except (InputError, cv2.error) as error:
                progress.write(f"passed over: {error}")
            progress.set_postfix(tracks=count)
    return count


def _require_scores(factory: Factory) -> None:
    tracker, frame = factory(), np.zeros((144, 256, 3), np.uint8)
    tracker.init(frame, np.array([60.0, 60.0, 30.0, 30.0]))
    if len(tracker.update(frame)) != 2:
        raise InputError("--tracker: this tracker gives no scores; one like opencv:nano does")


def read(path: Path) -> Iterator[Frame]:
    """Reads a video's frames at about `RATE` frames per second, with sides of `LONGEST_SIDE`."""
    source = open_source(str(path))
    for number, frame in enumerate(source.frames):
        if number % max(1, round(source.fps / RATE)) == 0:
            scale = min(1.0, LONGEST_SIDE / max(frame.shape[:2]))
            yield cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def segments(frames: Iterator[Frame]) -> Iterator[list[Frame]]:
    """Groups frames into segments without cuts of at most `SEGMENT_FRAMES`; repeats are dropped."""
    segment: list[Frame] = []
    last: np.ndarray | None = None
    for frame in frames:
        small = cv2.cvtColor(cv2.resize(frame, (32, 18)), cv2.COLOR_RGB2GRAY).astype(np.float32)
        if last is not None:
            if np.abs(small - last).mean() < 0.15:  # the same picture again
                continue
            if np.corrcoef(small.ravel(), last.ravel())[0, 1] < 0.4:  # a cut
                yield segment
                segment = []
        segment.append(frame)
        last = small
        if len(segment) == SEGMENT_FRAMES:
            yield segment
            segment = []
    yield segment


def label(
    frames: list[Frame], detect: Detector, factory: Factory
) -> list[Float[np.ndarray, "T 4"]]:
    """Returns the tracks of a segment, at most `MOST_TRACKS`: xywh in pixels, NaN where unknown."""
    if len(frames) < LEAST_FRAMES:
        return []
    detections = [detect(frame) for frame in frames]
    tracks: list[Float[np.ndarray, "T 4"]] = []
    for bbox in _whole(detections[0], frames[0]):
        if len(tracks) == MOST_TRACKS:
            break
        if any(iou(track[0], bbox) > 0.3 for track in tracks):
            continue
        track = _label_one(frames, bbox, detections, factory)
        if track is not None:
            tracks.append(track)
    return tracks


def _whole(boxes: Boxes, frame: Frame) -> Boxes:
    """Selects boxes that are inside the frame and neither tiny nor a third of it."""
    height, width = frame.shape[:2]
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    inside = (low >= 3).all(1) & (high <= np.array([width, height]) - 3).all(1)
    sized = (boxes[:, 2:].min(1) >= 9) & (boxes[:, 2:].prod(1) < 0.33 * width * height)
    return boxes[inside & sized]


def _label_one(
    frames: list[Frame],
    bbox: Float[np.ndarray, "4"],
    detections: list[Boxes],
    factory: Factory,
) -> Float[np.ndarray, "T 4"] | None:
    """Labels one target; None if it is lost, not confirmed by the detector, or does not move."""
    forward = _follow(factory(), frames, bbox)
    backward = _follow(factory(), frames[len(forward) - 1 :: -1], forward[-1])[::-1]
    if len(forward) < LEAST_FRAMES or len(backward) < len(forward):
        return None
    agreement, mean = iou(forward, backward), (forward + backward) / 2
    track = np.full((len(frames), 4), np.nan)
    confirmed = 0
    for number, box in enumerate(mean):
        seen = detections[number]
        overlaps = iou(np.broadcast_to(box, seen.shape), seen)
        if len(seen) and agreement[number] > 0.55 and overlaps.max() > 0.5:
            track[number] = 0.7 * seen[overlaps.argmax()] + 0.3 * box  # detections fit closer
            confirmed += 1
        elif agreement[number] > 0.75:
            track[number] = box
    known = track[~np.isnan(track[:, 0])]
    if len(known) < max(LEAST_FRAMES, 0.6 * len(forward)) or confirmed < 0.4 * len(known):
        return None
    return track if _moves(known) else None


def _follow(
    tracker: Tracker, frames: list[Frame], bbox: Float[np.ndarray, "4"]
) -> Float[np.ndarray, "t 4"]:
    """Tracks a target until its score falls below 0.6."""
    tracker.init(frames[0], bbox)
    boxes = [np.asarray(bbox, np.float64)]
    for frame in frames[1:]:
        box, score = tracker.update(frame)
        if score < 0.6:
            break
        boxes.append(np.asarray(box, np.float64))
    return np.stack(boxes)


def _moves(boxes: Boxes) -> bool:
    """Tells whether the centre moves by 0.4 of the target's size, or the area changes by 0.3."""
    size = np.sqrt(boxes[:, 2:].prod(1))
    path = np.ptp(boxes[:, :2] + boxes[:, 2:] / 2, axis=0)
    return math.hypot(*path) > 0.4 * size.mean() or np.ptp(np.log(size**2)) > 0.3


def yolox(path: Path, least_score: float = 0.25) -> Detector:
    """Loads a YOLOX detector (Ge et al., 2021).

    Args:
        path: ONNX network; input [1, 3, S, S], output [1, cells, 5 + classes] before decoding.
        least_score: detections below are dropped.

    Raises:
        InputError: the file is missing, or another network.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path.read_bytes(), settings)
        name, side = session.get_inputs()[0].name, session.get_inputs()[0].shape[2]
        grids = [np.mgrid[: side // s, : side // s][::-1].reshape(2, -1).T for s in (8, 16, 32)]
        (output,) = session.run(None, {name: np.zeros((1, 3, side, side), np.float32)})
        found = np.asarray(output).shape
        if found[1] != sum(len(grid) for grid in grids) or found[2] < 6:
            raise ValueError(f"its output is {found}")
    except Exception as error:  # onnxruntime raises several that share no other class
        raise InputError(f"--detector {path} is not a YOLOX network: {error}") from error
    cells = np.concatenate(grids)
    strides = np.concatenate(
        [np.full((len(g), 1), s) for g, s in zip(grids, (8, 16, 32), strict=True)]
    )

    def detect(frame: Frame) -> Boxes:
        scale = side / max(frame.shape[:2])
        small = cv2.resize(frame, None, fx=scale, fy=scale)
        padded = np.full((side, side, 3), 114, np.float32)
        padded[: small.shape[0], : small.shape[1]] = small[..., ::-1]
        (output,) = session.run(None, {name: padded.transpose(2, 0, 1)[None]})
        found = np.asarray(output)[0]
        scores = (found[:, 4:5] * found[:, 5:]).max(1)
        centres, sizes = (found[:, :2] + cells) * strides, np.exp(found[:, 2:4]) * strides
        boxes = cxcywh_to_xywh(np.concatenate([centres, sizes], 1)) / scale
        kept = cv2.dnn.NMSBoxes(boxes.tolist(), scores.tolist(), least_score, 0.55)
        return boxes[np.asarray(kept, int).reshape(-1)].astype(np.float64)

    return detect


def main(arguments: list[str] | None = None) -> None:
    """Runs the command."""
    options = tyro.cli(Options, args=arguments, description=__doc__)
    factory = make_factory(options.tracker)
    count = label_videos(options.videos, options.output, yolox(options.detector), factory)
    print(f"wrote {count} tracks to {options.output}")


if __name__ == "__main__":
    run_main(main)
