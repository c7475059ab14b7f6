"""Tables of the targets' boxes over a video, and their files."""

import csv
import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int

from asymtrack_jax.data.readers.text import read_boxes, read_lines
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import write_atomically
from asymtrack_jax.video.step import LOST_SCORE

SUFFIXES = (".txt", ".csv", ".jsonl")
FIELDS = ("frame", "target", "x", "y", "w", "h", "score", "lost")


@dataclasses.dataclass(frozen=True, eq=False)
class Tracks:
    """Boxes of targets, one row per frame and target, ordered by frame.

    Attributes:
        num_frames: number of frames of the video, those without a target included.
        frames: number of the frame of each row, from 0.
        targets: id of the target of each row, from 0.
        bboxes: xywh in pixels.
        scores: scores of the boxes; 1 where the box was given by the user.
    """

    num_frames: int
    frames: Int[np.ndarray, " rows"]
    targets: Int[np.ndarray, " rows"]
    bboxes: Float64[np.ndarray, "rows 4"]
    scores: Float64[np.ndarray, " rows"]

    @property
    def lost(self) -> Bool[np.ndarray, " rows"]:
        """Whether each score is below `LOST_SCORE`."""
        return self.scores < LOST_SCORE

    @property
    def num_targets(self) -> int:
        """Number of distinct targets."""
        return len(np.unique(self.targets))


class Track(NamedTuple):
    """Boxes of one target in every frame of a video.

    Attributes:
        bboxes: xywh in pixels.
        scores: scores of the boxes; None if the file has none.
    """

    bboxes: Float64[np.ndarray, "N 4"]
    scores: Float64[np.ndarray, " N"] | None


def write_tracks(path: Path, tracks: Tracks) -> None:
    """Writes a file of boxes atomically, in the format of its suffix.

    - `.txt`: one line per frame with x,y,w,h,score of each target, ordered by id; NaN while a
      target is not tracked. No header: `numpy.loadtxt(path, delimiter=",")` reads it.
    - `.csv`: a header, then one line per frame and target: frame,target,x,y,w,h,score,lost.
    - `.jsonl`: the same as one JSON object per line.

    Raises:
        InputError: the suffix is another.
        OSError: the file cannot be written.
    """
    write_atomically(path, "".join(_LINES[check_suffix(path)](tracks)).encode())


def boxes_path(video: Path, named: Path | None) -> Path:
    """Returns the path of the file of boxes: the named one, or the video's path with suffix .txt.

    Raises:
        InputError: the suffix is none of `SUFFIXES`, the folder is missing, or the unnamed file
            exists and is not a file of boxes.
    """
    path = named or video.with_suffix(".txt")
    check_suffix(path)
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"{path}: no file can be written there; name another file of boxes")
    if named is None and path.exists() and not _looks_written_here(path):
        raise InputError(
            f"{path} would be replaced by the boxes, and is not a file of boxes: choose another "
            "output, or name the file of boxes"
        )
    return path


def _looks_written_here(path: Path) -> bool:
    """Tells whether the first line holds boxes with score 1."""
    try:
        fields = next(iter(read_lines(path)), "").split(",")
    except InputError:
        return False
    return len(fields) % 5 == 0 and set(fields[4::5]) <= {"1.0000", "nan"}


def check_suffix(path: Path) -> str:
    """Returns the suffix of a path in lower case; raises `InputError` if not in `SUFFIXES`."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: a file of boxes must end in one of {', '.join(SUFFIXES)}")
    return suffix


def _text_lines(tracks: Tracks) -> Iterator[str]:
    count = int(tracks.targets.max(initial=-1)) + 1
    table = np.full((tracks.num_frames, count, 5), np.nan)
    table[tracks.frames, tracks.targets, :4] = tracks.bboxes
    table[tracks.frames, tracks.targets, 4] = tracks.scores
    for row in table.reshape(tracks.num_frames, -1):
        yield ",".join(f"{number:.4f}" for number in row) + "\n"


def _csv_lines(tracks: Tracks) -> Iterator[str]:
    yield ",".join(FIELDS) + "\n"
    for frame, target, *numbers, lost in _rows(tracks):
        yield f"{frame},{target}," + "".join(f"{each:.4f}," for each in numbers) + f"{lost:d}\n"


def _json_lines(tracks: Tracks) -> Iterator[str]:
    for row in _rows(tracks):
        rounded = (round(each, 4) if isinstance(each, float) else each for each in row)
        yield json.dumps(dict(zip(FIELDS, rounded, strict=True))) + "\n"


_LINES = {".txt": _text_lines, ".csv": _csv_lines, ".jsonl": _json_lines}


def _rows(tracks: Tracks) -> Iterator[tuple]:
    columns = (tracks.frames, tracks.targets, *tracks.bboxes.T, tracks.scores, tracks.lost)
    return zip(*(column.tolist() for column in columns), strict=True)


def read_track(path: Path) -> Track:
    """Reads a file of boxes of one target.

    Reads the formats of `write_tracks`, and text files of other trackers with one line x,y,w,h per
    frame, separated by commas, tabs or spaces.

    Raises:
        InputError: the file cannot be read, a line is invalid, there are several targets, or a
            frame is missing or duplicated.
    """
    suffix = path.suffix.lower()
    if suffix == ".csv":
        records: Iterable[Mapping[str, Any]] = _csv_records(path)
    elif suffix == ".jsonl":
        records = _json_records(path)
    else:
        return _read_text(path)
    rows = [_row(path, number, record) for number, record in enumerate(records)]
    table = np.array(rows, np.float64).reshape(-1, len(FIELDS) - 1)
    if targets := sorted(set(table[:, 1].tolist()))[1:]:
        raise InputError(f"{path} holds {len(targets) + 1} targets where one is expected")
    if not np.array_equal(table[:, 0], np.arange(len(table))):
        raise InputError(f"{path}: frames must be 0, 1, 2 and so on, each once")
    return Track(table[:, 2:6], table[:, 6])


def _csv_records(path: Path) -> Iterator[Mapping[str, Any]]:
    reader = csv.DictReader(read_lines(path))
    if not set(FIELDS[:-1]) <= set(reader.fieldnames or ()):
        raise InputError(f"{path}: expected a first line that names {', '.join(FIELDS[:-1])}")
    return reader


def _json_records(path: Path) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(read_lines(path), start=1):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise InputError(f"{path}, line {number}: expected a JSON object; got {line[:60]!r}")
        yield record


def _row(path: Path, number: int, record: Mapping[str, Any]) -> list[float]:
    try:
        row = [float(record[name]) for name in FIELDS[:-1]]
    except (KeyError, TypeError, ValueError, OverflowError):
        row = [np.nan]
    if not np.isfinite(row).all():
        raise InputError(
            f"{path}, record {number + 1}: expected finite numbers {', '.join(FIELDS[:-1])}"
        )
    return row


def _read_text(path: Path) -> Track:
    first = next(iter(read_lines(path)), "")
    width = len(first.replace(",", " ").split())
    if width > 5 and width % 5 == 0:
        raise InputError(f"{path} holds {width // 5} targets where one is expected")
    rows = read_boxes(path, with_score=width == 5)
    return Track(rows[:, :4], rows[:, 4] if width == 5 else None)
