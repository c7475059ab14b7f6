"""Prepares a dataset for training: its images, whole or cropped, in a few ArrayRecord files."""

import dataclasses
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import tqdm
from jaxtyping import Float, Int64

from asymtrack_jax.data.index import SequenceIndex
from asymtrack_jax.data.records import write_annotations, write_images
from asymtrack_jax.data.sampler import MIN_FRAMES, num_visible
from asymtrack_jax.data.sequences import Frame
from asymtrack_jax.errors import InputError, first_ten
from asymtrack_jax.files import atomic_directory

_MAX_UNREADABLE = 100

Box = Float[np.ndarray, "4"]


@dataclasses.dataclass(frozen=True)
class CropOptions:
    """Options of `asymtrack prepare --crops`.

    With the defaults the crops cover the search crops of AsymTrack-T and -S but for 0.6 % of their
    pixels, at the borders; AsymTrack-B needs a `target_size` of 96.

    Attributes:
        frames_per_sequence: maximum number of frames per sequence, evenly spaced.
        num_sequences: maximum number of sequences, evenly spaced; None for all.
        reach: distance from the target's centre to each side of a crop, in `sqrt(w * h)` of the
            target; pixels beyond it are black in training.
        target_size: maximum `sqrt(w * h)` of a target, pixels; crops of larger ones are downscaled.
        quality: JPEG quality, 1 to 100.
    """

    frames_per_sequence: int = 48
    num_sequences: int | None = None
    reach: float = 6.0
    target_size: float = 64.0
    quality: int = 90

    def __post_init__(self):
        if self.frames_per_sequence < MIN_FRAMES:
            raise InputError(
                f"frames_per_sequence must be at least {MIN_FRAMES}, since training skips "
                f"shorter sequences; got {self.frames_per_sequence}"
            )
        positive = self.reach > 0 and self.target_size >= 1 and 0 < self.quality <= 100
        if not positive or (self.num_sequences is not None and self.num_sequences < 1):
            raise InputError(
                "crops need a positive reach, a target_size of at least 1, a quality of 1 to 100 "
                f"and at least one sequence; got {self}"
            )


def prepare_frames(index: SequenceIndex, dataset: str, output: Path) -> None:
    """Copies a dataset's image files into records, byte for byte, with a progress bar.

    Images are not decoded: damaged ones are copied too, and skipped in training.

    Args:
        index: index of the dataset.
        dataset: name of the dataset, for the metadata.
        output: prepared folder to write, atomically.

    Raises:
        InputError: images are missing (the first ones are named), or `output` exists.
        OSError: an image cannot be read, or `output` cannot be written.
    """
    rows, records = _distinct_images(index)

    def paths(action: str) -> Iterator[Path]:
        return (index.frame_path(int(row)) for row in tqdm.tqdm(rows, action, unit="image"))

    with atomic_directory(output) as folder:
        if missing := [path for path in paths("looking for images") if not path.is_file()]:
            raise InputError(
                f"{len(missing)} of {len(rows)} images in {index.root} are missing:"
                f"{first_ten(missing)}"
            )
        write_images(folder / "frames", (path.read_bytes() for path in paths("copying images")))
        write_annotations(folder, index, records, {"dataset": dataset})


def prepare_crops(
    index: SequenceIndex, dataset: str, output: Path, options: CropOptions, num_threads: int = 1
) -> SequenceIndex:
    """Crops visible frames of a dataset around their targets, with a progress bar.

    The prepared sequences consist of the kept frames only, and gaps between frames count these.
    Frames that cannot be read are named on standard error and left out, and so are sequences that
    are then too short for training.

    Args:
        index: index of the dataset.
        dataset: name of the dataset, for the metadata.
        output: prepared folder to write, atomically.
        options: selection and size of the crops.
        num_threads: number of threads that decode and crop.

    Returns:
        Index of the crops.

    Raises:
        InputError: no crop can be made, too many frames cannot be read, or `output` exists.
        OSError: `output` cannot be written.
    """
    kept: list[_SequenceCrops] = []

    def images() -> Iterator[bytes]:
        unreadable = []
        for crops in _crop_sequences(index, options, num_threads):
            for problem in crops.unreadable:
                print(f"left out: {problem}", file=sys.stderr)
            unreadable += crops.unreadable
            if len(unreadable) > _MAX_UNREADABLE:
                raise InputError(f"{len(unreadable)} frames cannot be read:{first_ten(unreadable)}")
            if crops.rows:
                yield from crops.images
                kept.append(crops._replace(images=[]))
        if not kept:
            raise InputError(
                f"no crops can be made of {index.name}: {len(unreadable)} frames cannot be read:"
                f"{first_ten(unreadable)}"
            )

    with atomic_directory(output) as folder:
        write_images(folder / "frames", images())
        rows = np.concatenate([crops.rows for crops in kept])
        cropped = SequenceIndex(
            root=index.root,
            folders=index.folders[[crops.sequence for crops in kept]],
            offsets=np.cumsum([0, *(len(crops.rows) for crops in kept)], dtype=np.int64),
            files=index.files[rows],
            boxes=np.concatenate([crops.boxes for crops in kept], dtype=np.float32),
            visible=np.full(len(rows), True),
        )
        metadata = {"dataset": dataset, "crops": dataclasses.asdict(options)}
        write_annotations(folder, cropped, np.arange(len(rows)), metadata)
    return cropped


def crop_frame(
    frame: Frame, box: Box, reach: float, target_size: float
) -> tuple[Frame, Box] | None:
    """Crops a frame around a target, and downscales the crop if the target is large.

    Args:
        frame: uint8 RGB.
        box: the target, xywh in pixels of the frame; w and h are positive.
        reach: distance from the target's centre to each side of the crop, in `sqrt(w * h)`; the
            crop is clipped to the frame.
        target_size: maximum `sqrt(w * h)` of the target in the crop, pixels.

    Returns:
        The crop, and the target in it, xywh in pixels; None if the crop is outside the frame.
    """
    size = math.sqrt(box[2] * box[3])
    centre = box[:2] + 0.5 * box[2:]
    low = np.maximum(np.floor(centre - reach * size), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach * size), frame.shape[1::-1]).astype(int)
    if (low >= high).any():
        return None
    crop = frame[low[1] : high[1], low[0] : high[0]]
    scale = 1.0
    if size > target_size:
        sides = np.maximum(np.rint((high - low) * target_size / size), 1).astype(int)
        crop = cv2.resize(crop, sides.tolist(), interpolation=cv2.INTER_AREA)
        scale = sides / (high - low)  # per axis, after rounding
    return crop, np.concatenate([(box[:2] - low) * scale, box[2:] * scale])  # pyright: ignore[reportReturnType]


class _SequenceCrops(NamedTuple):
    """The crops of one sequence.

    Attributes:
        sequence: number of the sequence in the index.
        rows: rows of the cropped frames in the index.
        images: JPEG files, one per row.
        boxes: targets, xywh in pixels of the crops.
        unreadable: messages about frames that cannot be read.
    """

    sequence: int
    rows: list[int]
    images: list[bytes]
    boxes: list[Box]
    unreadable: list[str]


def _crop_sequences(
    index: SequenceIndex, options: CropOptions, num_threads: int
) -> Iterator[_SequenceCrops]:
    import grain  # takes a second

    lengths, shown = np.diff(index.offsets), num_visible(index)
    usable = np.flatnonzero((shown >= MIN_FRAMES) | ((lengths == 1) & (shown == 1)))
    if not len(usable):
        raise InputError(
            f"nothing to crop in {index.name}: no still, and no sequence of which at least "
            f"{MIN_FRAMES} frames show the target"
        )
    chosen = usable[_spread(len(usable), options.num_sequences or len(usable))]
    cv2.setNumThreads(1)
    made = grain.MapDataset.source(chosen.tolist()).map(lambda each: _crop(index, each, options))
    ahead = grain.ReadOptions(num_threads, prefetch_buffer_size=2 * num_threads)
    return iter(tqdm.tqdm(made.to_iter_dataset(ahead), "cropping", len(chosen), unit="sequence"))


def _crop(index: SequenceIndex, sequence: int, options: CropOptions) -> _SequenceCrops:
    kept = _SequenceCrops(sequence, [], [], [], [])
    rows = index.rows(sequence)
    still = rows.stop - rows.start == 1
    visible = rows.start + np.flatnonzero(index.visible[rows])
    for row in visible[_spread(len(visible), options.frames_per_sequence)].tolist():
        box = index.boxes[row].astype(np.float64)
        try:
            found = crop_frame(index.read(row), box, options.reach, options.target_size)
        except InputError as error:
            kept.unreadable.append(str(error))
            continue
        if found is not None:
            image = cv2.cvtColor(found[0], cv2.COLOR_RGB2BGR)
            jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, options.quality])[1]
            kept.rows.append(row)
            kept.images.append(jpeg.tobytes())
            kept.boxes.append(found[1])
    if not still and len(kept.rows) < MIN_FRAMES:
        return kept._replace(rows=[])
    return kept


def _spread(count: int, limit: int) -> Int64[np.ndarray, " chosen"]:
    """Returns at most `limit` numbers of 0 to count - 1, evenly spaced."""
    return np.linspace(0, count - 1, min(count, limit)).round().astype(np.int64)


def _distinct_images(
    index: SequenceIndex,
) -> tuple[Int64[np.ndarray, " images"], Int64[np.ndarray, " N"]]:
    """Returns the first row of each distinct image, and the number of each row's image."""
    stills = np.flatnonzero(np.diff(index.offsets) == 1)
    rows = index.offsets[stills]
    names = np.rec.fromarrays([index.folders[stills], index.files[rows]])
    _, first, image = np.unique(names, return_index=True, return_inverse=True)
    shown = np.arange(len(index.files))
    shown[rows] = rows[first][image]
    return np.unique(shown, return_inverse=True)
