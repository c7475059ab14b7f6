"""A folder of results: what a tracker returned, one file per sequence, and whose results they are.

`<sequence>.txt` holds one line x, y, w, h per frame, tab-separated, `<sequence>_score.txt` the
score of each, and `<sequence>_time.txt`, if sequences were tracked one at a time, the tracker's
seconds for it. By default boxes are truncated to integers, as the published results of this tracker
family are; that costs small targets some overlap, so compare like with like. The top-left pixel is
0, 0 or 1, 1, as the field's result files of the data set have it.
`manifest.json` says what made them; a folder never mixes results of two makers.

Results of others may also be files of `video.tracks`, and be named as `find_result` says.
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

from asymtrack_jax.config import VARIANTS, ModelConfig
from asymtrack_jax.data.readers.text import read_boxes, read_lines
from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import write_atomically
from asymtrack_jax.models import checkpoint
from asymtrack_jax.video.tracks import SUFFIXES, read_track

BOXES = "boxes"  # the folder's name within an evaluation's output
MANIFEST = "manifest.json"
_TIME, _SCORE = "_time", "_score"  # what follows a sequence's name
_IDENTITY = {  # what is the same in all runs of a folder, and what a manifest without it means
    "tracker": None,
    "checkpoint_sha256": None,
    "dataset": None,
    "recovery": None,
    "precision": "float32, matrix products default",
    "result_format": None,
    "origin": 0,
}


@dataclasses.dataclass(frozen=True)
class ResultFormat:
    """How boxes are written.

    Attributes:
        floats: as they are, instead of truncated to integers.
        origin: what the top-left pixel's x and y are, 0 or 1.
    """

    floats: bool = False
    origin: int = 0

    def written(self, boxes: Float[np.ndarray, "*b 4"]) -> Float[np.ndarray, "*b 4"]:
        """The numbers that are written for boxes (xywh, pixels from 0)."""
        shifted = boxes + np.array([self.origin, self.origin, 0, 0])
        return shifted if self.floats else np.trunc(shifted)


def describe_network(
    checkpoint_dir: Path, config: ModelConfig, dtype: str, recovery: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What a manifest says of this package's network.

    Args:
        checkpoint_dir: where the weights are from.
        config: sizes of the network.
        dtype: what the network computes in.
        recovery: the rules by which targets are lost and found; None if there are none.
    """
    device = jax.devices()[0]
    precision = jax.config.jax_default_matmul_precision  # pyright: ignore[reportAttributeAccessIssue]
    return {
        "variant": next((name for name, known in VARIANTS.items() if known == config), "custom"),
        "checkpoint_sha256": checkpoint.sha256(checkpoint_dir),
        "precision": f"{dtype}, matrix products {precision or 'default'}",
        "device": f"{device.platform}: {device.device_kind}",
        "recovery": recovery,
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
    """What makes the results of a run: the tracker, the settings, and the versions around them.

    Args:
        tracker: of `describe_network`, or `tracker`, the name of another one.
        dataset: its name.
        protocol: name of the protocol it is to be scored by.
        result_format: how boxes are written.
        options: of the command.
        command: that a person would give to do it again.
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
    """Opens a folder for results: a new one gets the manifest, an old one must have a matching one.

    The manifest is that of the run which began the folder; protocol, options and versions may
    differ in the runs that finish it.

    Raises:
        InputError: the folder holds results of another checkpoint, data set or format, or results
            of unknown origin, or is no folder.
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
            f"{directory} holds text files, and no {MANIFEST} that says whose results they are: "
            "choose another output folder"
        )
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(path, (json.dumps(manifest, indent=2, default=str) + "\n").encode())


def finished(
    directory: Path, sequences: Iterable[Sequence], result_format: ResultFormat
) -> list[Sequence]:
    """The sequences that have a result: a file that can be read, with one line a frame.

    Raises:
        InputError: two sequences would share a file, or a result starts from another box than its
            sequence: it was made on other data.
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
    """Writes a sequence's boxes (xywh, pixels), scores and times, if there are any.

    Each file appears whole or not at all.
    """
    box_format = "\t".join(["%.6f" if result_format.floats else "%d"] * 4) + "\n"
    # The boxes last: with them the sequence counts as finished.
    for suffix, values in ((_TIME, seconds), (_SCORE, scores)):
        if values is not None:
            lines = "".join(f"{value:.6f}\n" for value in values)
            write_atomically(directory / f"{name}{suffix}.txt", lines.encode())
    lines = "".join(box_format % tuple(box) for box in result_format.written(boxes))
    write_atomically(boxes_path(directory, name), lines.encode())


@dataclasses.dataclass(frozen=True)
class ResultFolder:
    """A tracker's results.

    Attributes:
        label: what tables and plots call the tracker.
        directory: where the files are.
        origin: what the top-left pixel's x and y are in the files, 0 or 1.
        prefix: what files may have before a sequence's name.
    """

    label: str
    directory: Path
    origin: int = 0
    prefix: str = ""

    def find(self, name: str) -> Path | None:
        """The file of a sequence, if there is one."""
        return find_result(self.directory, name, self.prefix)

    def read(self, name: str) -> Float[np.ndarray, "N 4"]:
        """The boxes of a sequence that has a file, xywh in pixels from 0.

        Raises:
            InputError: see `read_track`.
        """
        path = self.find(name)
        assert path is not None
        return read_track(path).bboxes - np.array([self.origin, self.origin, 0, 0])

    def read_scores(self, name: str) -> Float[np.ndarray, " N"] | None:
        """The score of each frame of a sequence, of a file beside the boxes' or in it, if any.

        Raises:
            InputError: they are damaged, or not in [0, 1].
        """
        path = self.find(name)
        if path is None:
            return None
        scores = _read_numbers(path.with_name(f"{path.stem}{_SCORE}.txt"))
        if scores is None:
            scores = read_track(path).scores
        if scores is not None and not ((scores >= 0) & (scores <= 1)).all():  # as NaN is not
            raise InputError(f"the scores of {path} must be numbers from 0 to 1")
        return scores


def boxes_path(directory: Path, name: str) -> Path:
    """The file of a sequence's boxes."""
    return directory / f"{name}.txt"


def find_result(directory: Path, name: str, prefix: str = "") -> Path | None:
    """The file of a sequence's boxes, as this package or another tracker's toolkit names it.

    It is `<sequence>.txt`, `.csv` or `.jsonl`, `<prefix><sequence>.txt` or
    `<sequence>/<sequence>_001.txt`.

    Args:
        directory: the folder of results.
        name: of the sequence.
        prefix: what some toolkits have before it.
    """
    names = (
        *(f"{name}{suffix}" for suffix in SUFFIXES),
        f"{prefix}{name}.txt",
        f"{name}/{name}_001.txt",
    )
    return next((path for path in (directory / name for name in names) if path.is_file()), None)


def read_seconds(path: Path) -> Float[np.ndarray, " N"] | None:
    """The tracker's seconds for each frame, beside a file of boxes; None if no file says.

    Raises:
        InputError: the file is there, but holds something else.
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
        raise InputError(f"{path} must hold one number a line: {error}") from error


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
            f"{path} starts from {boxes[0].tolist()} and the sequence from "
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
    """What made the results in a folder.

    Raises:
        InputError: nothing says so, or not as it should.
    """
    path = directory / MANIFEST
    if not path.is_file():
        raise InputError(f"no {path}: {directory} is no folder of results of this project")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged: {error}; choose another output folder") from error
    if not isinstance(manifest, dict):
        raise InputError(f"{path} is not a manifest; choose another output folder")
    return manifest


def read_origin(directory: Path, default: int) -> int:
    """What the top-left pixel is in a folder's results: as its manifest says, if it has one.

    Raises:
        InputError: the manifest is damaged.
    """
    if not (directory / MANIFEST).is_file():
        return default
    origin = read_manifest(directory).get("origin", _IDENTITY["origin"])
    if origin not in (0, 1):
        raise InputError(f"{directory / MANIFEST} gives the origin {origin!r}; expected 0 or 1")
    return origin
