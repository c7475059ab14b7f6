"""Checkpoints: one safetensors file with the network's variables, configuration and metadata.

`DIR/model.safetensors` holds the training form's variables under their paths, such as
`params/neck/kernel`. Its header has three entries: `model` (a `ModelConfig`) and `about` (the
metadata), both JSON, and `sha256`, a digest of these two and of the variables. Files of equal
content are identical byte by byte.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import jax
import numpy as np
import safetensors
import safetensors.numpy

from asymtrack_jax.config import ModelConfig, model_config_from_dict
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import write_atomically
from asymtrack_jax.models.fuse import fuse
from asymtrack_jax.models.shapes import Shape, variable_shapes
from asymtrack_jax.weights import TINY

FILE_NAME = "model.safetensors"
_DTYPES = ("F64", "F32", "F16", "BF16")
_MAX_HEADER = 2**20  # bytes; a header of the published sizes takes 20 kB


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint.

    Attributes:
        config: sizes of the network.
        variables: `params` and `batch_stats` of the training form, float32 numpy arrays.
        metadata: origin of the variables, such as the training run; JSON values.
    """

    config: ModelConfig
    variables: dict[str, Any]
    metadata: dict[str, Any]


def save(
    directory: str | os.PathLike[str],
    config: ModelConfig,
    variables: Mapping[str, Any],
    metadata: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> Path:
    """Writes a checkpoint atomically and returns the path of the file.

    Args:
        directory: directory of the checkpoint; created if it does not exist.
        config: sizes of the network.
        variables: `params` and `batch_stats` of the training form, in any floating point dtype.
        metadata: JSON values.
        overwrite: replace the checkpoint in a directory that exists.

    Raises:
        InputError: the directory exists and `overwrite` is not set, or it is a file.
    """
    directory = Path(directory)
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file; a checkpoint is a directory: choose another")
    if directory.exists() and not overwrite:
        raise InputError(f"{directory} exists; choose another directory, or overwrite it")
    described = {"model": dataclasses.asdict(config), "about": dict(metadata)}
    header = {name: json.dumps(entry, sort_keys=True) for name, entry in described.items()}
    arrays = {name: np.asarray(value, order="C") for name, value in _flatten(variables).items()}
    header["sha256"] = _digest(header, arrays)
    content = serialise(arrays, header)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / FILE_NAME
    write_atomically(path, content)
    return path


def serialise(arrays: Mapping[str, np.ndarray], header: Mapping[str, str]) -> bytes:
    """Serialises arrays and header entries as a safetensors file, deterministically.

    `safetensors.numpy.save` alone orders the header's entries differently from run to run.
    """
    content = safetensors.numpy.save(dict(arrays))
    start = 8 + int.from_bytes(content[:8], "little")
    described = {"__metadata__": dict(sorted(header.items())), **json.loads(content[8:start])}
    encoded = json.dumps(described, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # keeps the arrays aligned
    return len(encoded).to_bytes(8, "little") + encoded + content[start:]


def read(directory: str | os.PathLike[str]) -> Checkpoint:
    """Reads a checkpoint, and checks its tensors against the configuration in its header.

    Raises:
        InputError: there is no checkpoint, its format is another, it is damaged, its tensors do
            not fit its configuration, or a value is not finite in float32.
    """
    path = Path(directory) / FILE_NAME
    if not path.is_file():
        raise InputError(
            f"no checkpoint at {directory}: expected {path}. "
            "Leave the path out to use the packaged weights (tiny); "
            "`asymtrack convert` makes a checkpoint of a published one"
        )
    with path.open("rb") as file:
        if int.from_bytes(file.read(8), "little") > _MAX_HEADER:
            raise InputError(
                f"{path} is not a checkpoint of this project: its header takes more than "
                f"{_MAX_HEADER // 2**20} MiB"
            )
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            config = model_config_from_dict(json.loads(header["model"]))
            metadata = json.loads(header["about"])
            if not isinstance(metadata, dict):
                raise ValueError(f"its metadata should be names and values, got {metadata!r}")
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            problems = list(_problems(slices, variable_shapes(config)))
            arrays = {} if problems else {name: file.get_tensor(name) for name in slices}
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a checkpoint of this project: {error}") from error
    if problems:
        raise InputError(f"{path} does not fit the network it describes:\n" + "\n".join(problems))
    if header.get("sha256") not in (None, _digest(header, arrays)):  # older files have none
        raise InputError(f"{path} is damaged: its sha256 does not match; copy it again")
    with np.errstate(over="ignore"):  # reported below
        singles = {name: array.astype(np.float32) for name, array in arrays.items()}
    if broken := sorted(name for name, array in singles.items() if not np.isfinite(array).all()):
        raise InputError(f"{path} has values that are not finite, in {', '.join(broken)}")
    return Checkpoint(config, flax.traverse_util.unflatten_dict(singles, sep="/"), metadata)


def load_variables(
    directory: str | os.PathLike[str] = TINY, *, fused: bool = True
) -> tuple[ModelConfig, dict[str, Any]]:
    """Loads the configuration and variables for `AsymTrack(config, fused=fused).apply`.

    Args:
        directory: directory of the checkpoint; by default the weights in the package.
        fused: whether to return the variables of the fused form.

    Returns:
        The configuration, and the variables as float32 arrays on the default device.

    Raises:
        InputError: see `read`.
    """
    loaded = read(directory)
    return loaded.config, jax.device_put(fuse(loaded.variables) if fused else loaded.variables)


def sha256(directory: str | os.PathLike[str]) -> str:
    """Returns the SHA-256 of a checkpoint's file, hexadecimal; `OSError` if it cannot be read."""
    with (Path(directory) / FILE_NAME).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flatten(variables: Mapping[str, Any]) -> dict[str, Any]:
    return flax.traverse_util.flatten_dict(variables, sep="/")


def _digest(header: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256 of a checkpoint's content without the digest itself."""
    digest = hashlib.sha256(f"{header['model']}\n{header['about']}\n".encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _problems(slices: Mapping[str, Any], expected: Mapping[str, Shape]) -> Iterator[str]:
    """Lists differences between the tensors in a file and the network's variables."""
    for name in sorted(expected.keys() - slices.keys()):
        yield f"  missing: {name}"
    for name in sorted(slices.keys() - expected.keys()):
        yield f"  unknown: {name}"
    for name in sorted(slices.keys() & expected.keys()):
        shape, dtype = tuple(slices[name].get_shape()), slices[name].get_dtype()
        if shape != expected[name]:
            yield f"  shape of {name}: {shape}, expected {expected[name]}"
        elif dtype not in _DTYPES:
            yield f"  type of {name}: {dtype}, expected one of {', '.join(_DTYPES)}"
