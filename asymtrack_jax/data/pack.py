"""Small copies of data sets, in a few files, for machines that have neither grain nor TFDS.

python -m asymtrack_jax.data.pack --dataset lasot --data_dir D --output O

Of each sequence some frames are kept, cropped around the target and shrunk: enough for what is cut
out of them to train on. Only frames that show the target are, so gaps count in kept frames.

A pack is a folder of
- `frames.bin`, one JPEG after the other;
- `ends.npy`, where in it each frame begins, and where the last one ends, bytes;
- `offsets.npy`, `boxes.npy` and `names.npy`, the sequences, the targets, and what frames they were;
- `pack.json`, how it was made.
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import tqdm
from jaxtyping import Bool, Float, Float32, Int64, UInt8

from asymtrack_jax.data.output import whole_folder
from asymtrack_jax.data.sampler import LEAST_FRAMES, num_visible
from asymtrack_jax.data.sequences import Frame, Source, decode_frame
from asymtrack_jax.data.threads import MapAhead
from asymtrack_jax.errors import InputError, run_main

_FORMAT = 1
_COLUMNS = ("offsets", "ends", "boxes", "names")
_MAX_UNREADABLE = 100

Box = Float[np.ndarray, "4"]


@dataclasses.dataclass(frozen=True)
class PackOptions:
    """What of a data set a pack keeps.

    Attributes:
        frames_per_sequence: most frames of a sequence; they are spread over it evenly.
        num_sequences: most sequences, likewise; None for all.
        reach: how far a crop goes each way from the target's centre, in `sqrt(w * h)`. What
            training would cut out beyond it is black.
        target_side: largest `sqrt(w * h)` of a target; frames with larger ones are shrunk.
        quality: of the JPEGs, up to 100.
    """

    frames_per_sequence: int = 48
    num_sequences: int | None = None
    reach: float = 4.25
    target_side: float = 64.0
    quality: int = 90

    def __post_init__(self):
        if self.frames_per_sequence < LEAST_FRAMES:
            raise InputError(
                f"frames_per_sequence must be at least {LEAST_FRAMES}, as shorter sequences are "
                f"not trained on; got {self.frames_per_sequence}"
            )
        positive = self.reach > 0 and self.target_side >= 1 and 0 < self.quality <= 100
        if not positive or (self.num_sequences is not None and self.num_sequences < 1):
            raise InputError(f"cannot pack by these numbers: {self}")


@dataclasses.dataclass(frozen=True, eq=False)
class PackSource:
    """A pack: a `Source`, mapped from its files.

    Attributes:
        directory: where it lies.
        offsets: sequence i is the rows `offsets[i]` to `offsets[i + 1]`.
        ends: row i is the bytes `ends[i]` to `ends[i + 1]` of `frames`.
        boxes: xywh in pixels of the kept frames.
        names: what messages call each row, as bytes.
        frames: JPEGs, one after the other.
    """

    directory: Path
    offsets: Int64[np.ndarray, " sequences_1"]
    ends: Int64[np.ndarray, " N_1"]
    boxes: Float32[np.ndarray, "N 4"]
    names: np.ndarray
    frames: np.ndarray

    @property
    def name(self) -> str:
        """The folder."""
        return os.fspath(self.directory)

    @property
    def visible(self) -> Bool[np.ndarray, " N"]:
        """True: other frames are not kept."""
        return np.broadcast_to(True, len(self.boxes))

    def read(self, row: int) -> Frame:
        """The frame of a row; `InputError` if it is damaged."""
        content = self.frames[self.ends[row] : self.ends[row + 1]].tobytes()
        return decode_frame(content, self.frame_name(row))

    def frame_name(self, row: int) -> str:
        """The pack, and what frame it was."""
        return f"{self.directory} ({os.fsdecode(self.names[row])})"

    def __reduce__(self) -> tuple[Any, ...]:
        """It travels to a worker process as the name of its folder."""
        return open_pack, (self.directory,)


def open_pack(directory: Path) -> PackSource:
    """Maps a pack.

    Raises:
        InputError: the folder holds none, an incomplete one, or one that another version of this
            program made.
    """
    marker = directory / "pack.json"
    if not marker.is_file():
        raise InputError(f"no pack in {directory}: data.pack makes them, each with a pack.json")
    if json.loads(marker.read_text())["format"] != _FORMAT:
        raise InputError(f"{directory} was made by another version of data.pack: make it again")
    columns = {column: np.load(directory / f"{column}.npy", mmap_mode="r") for column in _COLUMNS}
    frames = np.memmap(directory / "frames.bin", np.uint8, "r")
    if len(frames) != columns["ends"][-1]:
        raise InputError(f"{directory / 'frames.bin'} is incomplete: copy it again")
    return PackSource(directory, **columns, frames=frames)


class _Kept(NamedTuple):
    """A frame of a pack."""

    jpeg: bytes
    box: Box
    name: bytes


def pack(
    source: Source, output: Path, options: PackOptions, dataset: str, num_threads: int = 1
) -> PackSource:
    """Packs a data set, with a progress bar.

    Frames that cannot be read are left out, and said so; then sequences that are too short for
    training.

    Args:
        source: the data set.
        output: a new folder. It appears when it is complete.
        options: what is kept.
        dataset: the data set's name, for the record.
        num_threads: that decode and crop.

    Returns:
        The pack.

    Raises:
        InputError: nothing can be packed, too many frames cannot be read (listed), `output` exists,
            or another process is writing it.
        OSError: `output` cannot be written.
    """
    chosen = _choose_sequences(source, options)
    make = functools.partial(_pack_sequence, source, options)
    lengths, sizes, boxes, names, unreadable = [], [], [], [], []
    with whole_folder(output) as folder:
        packed = MapAhead(make, chosen.tolist(), num_threads, ahead=2 * num_threads)
        progress = tqdm.tqdm(packed, f"packing {source.name}", len(chosen), unit="sequence")
        with contextlib.closing(packed), (folder / "frames.bin").open("wb") as file:
            for frames, problems in progress:
                for problem in problems:
                    progress.write(f"left out: {problem}", sys.stderr)
                unreadable += problems
                if len(unreadable) > _MAX_UNREADABLE:
                    raise InputError(
                        f"{len(unreadable)} frames cannot be read:\n  " + "\n  ".join(unreadable)
                    )
                if frames:
                    file.writelines(frame.jpeg for frame in frames)
                    lengths.append(len(frames))
                    sizes += [len(frame.jpeg) for frame in frames]
                    boxes += [frame.box for frame in frames]
                    names += [frame.name for frame in frames]
        if not lengths:
            raise InputError(
                f"nothing of {source.name} can be packed: {len(unreadable)} unreadable"
            )
        np.save(folder / "offsets.npy", np.cumsum([0, *lengths]))
        np.save(folder / "ends.npy", np.cumsum([0, *sizes]))
        np.save(folder / "boxes.npy", np.array(boxes, np.float32))
        np.save(folder / "names.npy", np.array(names))
        marker = {"format": _FORMAT, "dataset": dataset, **dataclasses.asdict(options)}
        (folder / "pack.json").write_text(json.dumps(marker, indent=2))
    return open_pack(output)


def crop_frame(
    frame: Frame, box: Box, reach: float, target_side: float
) -> tuple[UInt8[np.ndarray, "h w 3"], Float[np.ndarray, "4"]] | None:
    """Cuts a frame around a target, and shrinks it if the target is large.

    Args:
        frame: RGB.
        box: the target, xywh in pixels of the frame; w and h are positive.
        reach: how far the crop goes each way from the target's centre, in `sqrt(w * h)`; it ends
            where the frame does.
        target_side: largest `sqrt(w * h)` of the target in the crop.

    Returns:
        The crop, and the target in it, xywh in pixels; None if the target is far outside the frame.
    """
    size = math.sqrt(box[2] * box[3])
    centre = box[:2] + 0.5 * box[2:]
    low = np.maximum(np.floor(centre - reach * size), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach * size), frame.shape[1::-1]).astype(int)
    if (low >= high).any():
        return None
    crop = frame[low[1] : high[1], low[0] : high[0]]
    scale = 1.0
    if size > target_side:
        sides = np.maximum(np.rint((high - low) * target_side / size), 1).astype(int)
        crop = cv2.resize(crop, sides.tolist(), interpolation=cv2.INTER_AREA)
        scale = sides / (high - low)  # each side's own, after rounding
    return crop, np.concatenate([(box[:2] - low) * scale, box[2:] * scale])


def _choose_sequences(source: Source, options: PackOptions) -> Int64[np.ndarray, " S"]:
    shown = num_visible(source)
    still = np.diff(source.offsets) == 1
    usable = np.flatnonzero((shown >= LEAST_FRAMES) | (still & (shown == 1)))
    if not len(usable):
        raise InputError(
            f"nothing to pack in {source.name}: no still, and no sequence of which at least "
            f"{LEAST_FRAMES} frames show the target"
        )
    return usable[_spread(len(usable), options.num_sequences or len(usable))]


def _pack_sequence(
    source: Source, options: PackOptions, sequence: int
) -> tuple[list[_Kept], list[str]]:
    """What is kept of a sequence, and what was wrong with frames that are not."""
    first, end = source.offsets[sequence : sequence + 2].tolist()
    rows = first + np.flatnonzero(source.visible[first:end])
    kept, problems = [], []
    for row in rows[_spread(len(rows), options.frames_per_sequence)].tolist():
        box = source.boxes[row].astype(np.float64)
        try:
            found = crop_frame(source.read(row), box, options.reach, options.target_side)
        except InputError as error:
            problems.append(str(error))
            continue
        if found is None:
            continue
        image = cv2.cvtColor(found[0], cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, options.quality])[1]
        kept.append(_Kept(jpeg.tobytes(), found[1], os.fsencode(source.frame_name(row))))
    return (kept if end - first == 1 or len(kept) >= LEAST_FRAMES else []), problems


def _spread(count: int, most: int) -> Int64[np.ndarray, " chosen"]:
    """At most so many of `count` numbers, as evenly spread as can be."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def main(arguments: Sequence[str] | None = None) -> None:
    """Packs as the command line says."""
    # A pack is opened there too, so it cannot be imported above.
    from asymtrack_jax.data.datasets import DATASETS, open_dataset

    parser = argparse.ArgumentParser(
        description="Copies a data set, cropped around its targets, into a few files."
    )
    parser.add_argument("--dataset", choices=DATASETS, required=True)
    parser.add_argument("--data-dir", "--data_dir", type=Path, required=True, help="its folder")
    parser.add_argument("--output", type=Path, required=True, help="a new folder")
    kept = PackOptions()
    for flag, default, meaning in (
        ("--frames-per-sequence", kept.frames_per_sequence, "most frames of a sequence"),
        ("--reach", kept.reach, "of a crop each way from the target's centre, in sqrt(w * h)"),
        ("--target-side", kept.target_side, "largest sqrt(w * h) of a target, pixels"),
        ("--quality", kept.quality, "of the JPEGs"),
    ):
        parser.add_argument(flag, type=type(default), default=default, help=meaning)
    parser.add_argument("--num-sequences", type=int, help="most sequences; default: all")
    parser.add_argument("--num-threads", type=int, default=os.cpu_count(), help="default: cores")
    arg = parser.parse_args(arguments)

    options = PackOptions(
        arg.frames_per_sequence, arg.num_sequences, arg.reach, arg.target_side, arg.quality
    )
    source = open_dataset(arg.dataset, arg.data_dir)
    made = pack(source, arg.output, options, arg.dataset, arg.num_threads)
    print(
        f"{arg.output}: {len(made.offsets) - 1} sequences, {len(made.boxes)} frames, "
        f"{len(made.frames) / 2**20:.1f} MiB"
    )


if __name__ == "__main__":
    run_main(main)
