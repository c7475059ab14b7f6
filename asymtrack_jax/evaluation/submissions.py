"""Archives of results in the formats of the GOT-10k and TrackingNet evaluation servers."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float

from asymtrack_jax.data.sequences import Sequence
from asymtrack_jax.errors import InputError, first_ten
from asymtrack_jax.evaluation import results
from asymtrack_jax.evaluation.results import ResultFolder
from asymtrack_jax.files import write_atomically


def write_submission(
    path: Path, server: str, folder: ResultFolder, sequences: Iterable[Sequence]
) -> None:
    """Checks a folder of results and writes the archive for an evaluation server.

    GOT-10k's archive has `<sequence>/<sequence>_001.txt` and, where it was measured, the time of
    each frame in seconds, `<sequence>/<sequence>_time.txt`; TrackingNet's has `<sequence>.txt`.
    Lines are `x,y,w,h`. The results themselves are not modified.

    Args:
        path: archive to write, .zip.
        server: "GOT-10k" or "TrackingNet".
        folder: the results.
        sequences: all sequences of the dataset.

    Raises:
        InputError: a result is missing, does not have one line per frame, or has a box that is not
            finite or has no width or height. The message names the first ten; nothing is written.
    """
    files: dict[str, str] = {}
    problems: list[str] = []
    for sequence in sequences:
        try:
            files |= _files(server, folder, sequence)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError(
            f"no archive for {server}: {len(problems)} results cannot be submitted:"
            f"{first_ten(problems)}"
        )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    write_atomically(path, buffer.getvalue())


def _files(server: str, folder: ResultFolder, sequence: Sequence) -> dict[str, str]:
    """Returns the archive's files for a sequence, text by name."""
    name = sequence.name
    found = folder.find(name)
    if found is None:
        raise InputError(f"{name}: there is no result in {folder.directory}")
    boxes = folder.read(name)
    _check(name, boxes, len(sequence.frames))
    lines = "".join(",".join(map(_number, box)) + "\n" for box in boxes)
    if server == "TrackingNet":
        return {f"{name}.txt": lines}
    files = {f"{name}/{name}_001.txt": lines}
    seconds = results.read_seconds(found)
    if seconds is not None:
        files[f"{name}/{name}_time.txt"] = "".join(f"{value:.6f}\n" for value in seconds)
    return files


def _number(value: float) -> str:
    return f"{value:.4f}".rstrip("0").rstrip(".")


def _check(name: str, boxes: Float[np.ndarray, "N 4"], num_frames: int) -> None:
    if len(boxes) != num_frames:
        raise InputError(f"{name}: {len(boxes)} boxes for {num_frames} frames")
    bad = ~np.isfinite(boxes).all(axis=1) | (boxes[:, 2:] <= 0).any(axis=1)
    if bad.any():
        frame = int(bad.argmax())
        raise InputError(f"{name}: the box of frame {frame} is {boxes[frame].tolist()}")
