"""Folders of tracking results: one file of boxes per sequence, and a manifest of the run.

`<sequence>.txt` holds one line x, y, w, h per frame, tab-separated; `<sequence>_score.txt` the
score of each frame; and `<sequence>_time.txt`, if sequences were tracked one at a time, the seconds
per frame. By default boxes are truncated to integers, as in the published results of this tracker
family; that lowers the overlap of small targets, so compare results of the same format. The
top-left pixel is 0, 0 or 1, 1, by the convention of the dataset's published result files.
`manifest.json` records the tracker, the settings and the versions; a folder never mixes results of
different trackers or settings.

Results of other trackers may have any format of `video.tracks`, and the names in `find_result`.
"""

import dataclasses
import importlib.metadata
import json
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
from jaxtyping import Float

from asymtrack_jax.config import ModelConfig, variant_name
from asymtrack_jax.data.readers.text import read_boxes, read_lines
from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import write_atomically
from asymtrack_jax.models import checkpoint
from asymtrack_jax.video.tracks import SUFFIXES, read_track

BOXES = "boxes"  # the folder's name within an evaluation's output
MANIFEST = "manifest.json"
_TIME, _SCORE = "_time", "_score"  # suffixes of a sequence's name
_IDENTITY = {  # entries that all runs of a folder share, and their defaults in older manifests
    "tracker": None,
    "checkpoint_sha256": None,
    "dataset": None,
    "precision": "float32, matrix products default",
    "result_format": None,
    "origin": 0,
}


@dataclasses.dataclass(frozen=True)
class ResultFormat:
    """Format of the boxes in result files.

    Attributes:
        floats: write floats instead of integers; integers are truncated.
        origin: x and y of the top-left pixel, 0 or 1.
    """

    floats: bool = False
    origin: int = 0

    def written(self, boxes: Float[np.ndarray, "*b 4"]) -> Float[np.ndarray, "*b 4"]:
        """Returns boxes (xywh, pixels counted from 0) in this format."""
        shifted = boxes + np.array([self.origin, self.origin, 0, 0])
        return shifted if self.floats else np.trunc(shifted)


def describe_network(checkpoint_dir: Path, config: ModelConfig, dtype: str) -> dict[str, Any]:
    """Returns the manifest's description of this package's tracker.

    Args:
        checkpoint_dir: directory of the checkpoint.
        config: sizes of the network.
        dtype: dtype that the network computes in.
    """
    device = jax.devices()[0]
    precision = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    return {
        "variant": variant_name(config),
        "checkpoint_sha256": checkpoint.sha256(checkpoint_dir),
        "precision": f"{dtype}, matrix products {precision or 'default'}",
        "device": f"{device.platform}: {device.device_kind}",
    }


def make_manifest(
    tracker: Mapping[str, Any],
    dataset: str,
    protocol: str,
    *,
    result_format: ResultFormat,
    options: Mapping[str, Any],
    command: str,
) -> dict[str, Any]:
    """Returns the manifest of a run: tracker, settings and versions of the main packages.

    Args:
        tracker: result of `describe_network`, or the name of another tracker under `tracker`.
        dataset: name of the dataset.
        protocol: name of the evaluation protocol.
        result_format: format of the boxes.
        options: options of the command.
        command: command line that repeats the run.
    """
    packages = {name: importlib.metadata.version(name) for name in ("jax", "flax", "numpy")}
    return {
        "dataset": dataset,
        "protocol": protocol,
        **tracker,
        "result_format": "float" if result_format.floats else "int",
        "origin": result_format.origin,
        "command": command,
        "options": dict(options),
        "versions": {
            "python": platform.python_version(),
            **packages,
            "opencv": cv2.__version__,
        },
    }


def open_results_dir(directory: Path, manifest: Mapping[str, Any]) -> None:
    """Creates a folder of results with its manifest, or checks the manifest of an existing one.

    The manifest is that of the first run; protocol, options and versions may differ in later runs
    that complete the folder.

    Raises:
        InputError: the folder has results of another checkpoint, dataset or format, or results
            without a manifest, or is not a folder.
    """
    path = directory / MANIFEST
    if path.exists():
        known = read_manifest(directory)
        pairs = {
            name: (known.get(name, old), manifest.get(name, old)) for name, old in _IDENTITY.items()
        }
        if differing := {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}:
            found = "; ".join(f"{name} {old}, now {new}" for name, (old, new) in differing.items())
            raise InputError(
                f"{directory} holds results of another run ({found}): choose another output folder"
            )
        return
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file: choose another output folder")
    if next(directory.glob("*.txt"), None):
        raise InputError(
            f"{directory} holds text files, but no {MANIFEST} that describes them: "
            "choose another output folder"
        )
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(manifest, indent=2, default=str) + "\n").encode())


def finished(
    directory: Path, sequences: Iterable[Sequence], result_format: ResultFormat
) -> list[Sequence]:
    """Returns the sequences that have a complete result: a readable file, one line per frame.

    Raises:
        InputError: two sequences would share a file, or the first box of a result differs from the
            sequence's annotation, so that it was made on other data.
    """
    sequences = list(sequences)
    _check_names([sequence.name for sequence in sequences])
    return [sequence for sequence in sequences if _is_finished(directory, sequence, result_format)]


def write_result(
    directory: Path,
    name: str,
    boxes: Float[np.ndarray, "N 4"],
    scores: Float[np.ndarray, " N"] | None,
    seconds: Float[np.ndarray, " N"] | None,
    result_format: ResultFormat,
) -> None:
    """Writes the result of a sequence; each file is written atomically.

    Args:
        directory: the folder of results.
        name: name of the sequence.
        boxes: xywh in pixels counted from 0.
        scores: score of each frame, if there are any.
        seconds: time of each frame, if it was measured.
        result_format: format of the boxes.
    """
    box_format = "\t".join(["%.6f" if result_format.floats else "%d"] * 4) + "\n"
    # The boxes last: a sequence with boxes counts as finished.
    for suffix, values in ((_TIME, seconds), (_SCORE, scores)):
        if values is not None:
            lines = "".join(f"{value:.6f}\n" for value in values)
            write_atomically(directory / f"{name}{suffix}.txt", lines.encode())
    lines = "".join(box_format % tuple(box) for box in result_format.written(boxes))
    write_atomically(boxes_path(directory, name), lines.encode())


@dataclasses.dataclass(frozen=True)
class ResultFolder:
    """Folder of a tracker's results.

    Attributes:
        label: name of the tracker in tables and plots.
        directory: folder of the files.
        origin: x and y of the top-left pixel in the files, 0 or 1.
        prefix: optional prefix of a sequence's name in file names.
    """

    label: str
    directory: Path
    origin: int = 0
    prefix: str = ""

    def find(self, name: str) -> Path | None:
        """Returns the file of a sequence's boxes; None if there is none."""
        return find_result(self.directory, name, self.prefix)

    def read(self, name: str) -> Float[np.ndarray, "N 4"]:
        """Reads the boxes of a sequence that has a file, xywh in pixels counted from 0.

        Raises:
            InputError: see `read_track`.
        """
        path = self.find(name)
        assert path is not None
        return read_track(path).bboxes - np.array([self.origin, self.origin, 0, 0])

    def read_scores(self, name: str) -> Float[np.ndarray, " N"] | None:
        """Reads the score of each frame of a sequence; None if there are none.

        They are in `<sequence>_score.txt` or in the file of boxes itself.

        Raises:
            InputError: the file is damaged, or a score is not in [0, 1].
        """
        path = self.find(name)
        if path is None:
            return None
        scores = _read_numbers(path.with_name(f"{path.stem}{_SCORE}.txt"))
        if scores is None:
            scores = read_track(path).scores
        if scores is not None and not ((scores >= 0) & (scores <= 1)).all():  # false for NaN
            raise InputError(f"the scores of {path} must be numbers from 0 to 1")
        return scores


def boxes_path(directory: Path, name: str) -> Path:
    """Returns the path of a sequence's boxes."""
    return directory / f"{name}.txt"


def find_result(directory: Path, name: str, prefix: str = "") -> Path | None:
    """Finds the file of a sequence's boxes, by the names of this package and other toolkits.

    It is `<sequence>.txt`, `.csv` or `.jsonl`, `<prefix><sequence>.txt` or
    `<sequence>/<sequence>_001.txt` (GOT-10k).

    Args:
        directory: the folder of results.
        name: name of the sequence.
        prefix: prefix that some toolkits add to the name.

    Returns:
        The path; None if there is no such file.
    """
    names = (
        *(f"{name}{suffix}" for suffix in SUFFIXES),
        f"{prefix}{name}.txt",
        f"{name}/{name}_001.txt",
    )
    return next((path for path in (directory / name for name in names) if path.is_file()), None)


def read_seconds(path: Path) -> Float[np.ndarray, " N"] | None:
    """Reads the seconds per frame from `<name>_time.txt` beside a file of boxes, if it exists.

    Raises:
        InputError: the file holds anything but finite numbers of at least 0.
    """
    beside = path.with_name(f"{path.stem}{_TIME}.txt")
    seconds = _read_numbers(beside)
    if seconds is not None and not ((seconds >= 0) & np.isfinite(seconds)).all():
        raise InputError(f"{beside} must hold finite numbers of seconds")
    return seconds


def _read_numbers(path: Path) -> Float[np.ndarray, " N"] | None:
    if not path.exists():
        return None
    try:
        return np.array([float(line) for line in read_lines(path)])
    except ValueError as error:
        raise InputError(f"{path} must hold one number per line: {error}") from error


def _is_finished(directory: Path, sequence: Sequence, result_format: ResultFormat) -> bool:
    path = boxes_path(directory, sequence.name)
    if not path.exists():
        return False
    try:
        boxes = read_boxes(path)
    except InputError:
        return False
    if len(boxes) != len(sequence.frames):
        return False
    expected = result_format.written(sequence.boxes[0])
    if not np.allclose(boxes[0], expected, rtol=0, atol=1e-5):
        raise InputError(
            f"{path} starts with the box {boxes[0].tolist()}, but the sequence with "
            f"{expected.tolist()}: a result on other data; choose another output folder"
        )
    return True


def _check_names(names: list[str]) -> None:
    clash = {
        name
        for name in names
        if names.count(name) > 1 or any(f"{name}{end}" in names for end in (_TIME, _SCORE))
    }
    if clash:
        raise InputError(
            f"the results of sequences {sorted(clash)} would overwrite others: no name may occur "
            f"twice, or be another's followed by {_TIME} or {_SCORE}"
        )


def read_manifest(directory: Path) -> dict[str, Any]:
    """Reads the manifest of a folder of results.

    Raises:
        InputError: the manifest is missing or damaged.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise InputError(f"no {path}: {directory} is not a folder of results of this package")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}; choose another output folder") from error
    if not isinstance(manifest, dict):
        raise InputError(f"{path} is not a manifest; choose another output folder")
    return manifest


def read_origin(directory: Path, default: int) -> int:
    """Reads x and y of the top-left pixel, 0 or 1, from the manifest of a folder of results.

    Args:
        directory: the folder of results.
        default: result for a folder without a manifest.

    Raises:
        InputError: the manifest is damaged.
    """
    if not (directory / MANIFEST).is_file():
        return default
    origin = read_manifest(directory).get("origin", _IDENTITY["origin"])
    if origin not in (0, 1):
        raise InputError(f"{directory / MANIFEST} has the origin {origin!r}; expected 0 or 1")
    return origin
