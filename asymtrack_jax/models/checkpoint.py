"""A network on disk: one safetensors file that holds its variables, its sizes and its story.

`DIR/model.safetensors` holds the training form's variables under their paths, such as
`params/neck/kernel`, and in its header's metadata the entries `model` (a `ModelConfig`) and
`about` (who made it and how), both JSON.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.traverse_util
import numpy as np
import safetensors
import safetensors.numpy

from asymtrack_jax.config import ModelConfig, model_config_from_dict
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import write_atomically
from asymtrack_jax.models.shapes import Shape, variable_shapes

FILE_NAME = "model.safetensors"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        config: sizes of the network.
        variables: the training form's `params` and `batch_stats`, float32 numpy arrays.
        metadata: who made it and how.
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
    """Writes a checkpoint, whole or not at all, and returns the file's path.

    Args:
        directory: made if it is not there.
        config: sizes of the network.
        variables: the training form's `params` and `batch_stats`, in any floating point type.
        metadata: anything JSON can hold.
        overwrite: replace the checkpoint in a directory that exists.

    Raises:
        InputError: the directory exists and `overwrite` is not set.
    """
    directory = Path(directory)
    if directory.exists() and not overwrite:
        raise InputError(f"{directory} exists; choose another directory, or overwrite it by name")
    header = {"model": json.dumps(dataclasses.asdict(config)), "about": json.dumps(dict(metadata))}
    arrays = {name: np.asarray(value) for name, value in _flatten(variables).items()}
    content = safetensors.numpy.save(arrays, header)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / FILE_NAME
    write_atomically(path, content)
    return path


def read(directory: str | os.PathLike[str]) -> Checkpoint:
    """Reads a checkpoint; every tensor is checked against the network it says it is for.

    Raises:
        InputError: there is no checkpoint, or it is damaged, of another format, of another
            network, or holds values that are not finite.
    """
    path = Path(directory) / FILE_NAME
    if not path.is_file():
        raise InputError(
            f"no checkpoint at {directory}: expected {path}. "
            "`python -m convert_weights` makes one of a published PyTorch checkpoint"
        )
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = model_config_from_dict(json.loads(header["model"]))
        metadata = json.loads(header["about"])
        if not isinstance(metadata, dict):
            raise ValueError(f"its story should be a table of names and values, got {metadata!r}")
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not a checkpoint of this project: {error}") from error
    if problems := list(_problems(arrays, variable_shapes(config))):
        raise InputError(f"{path} does not fit the network it describes:\n" + "\n".join(problems))
    variables = flax.traverse_util.unflatten_dict(
        {name: array.astype(np.float32) for name, array in arrays.items()}, sep="/"
    )
    return Checkpoint(config, variables, metadata)


def sha256(directory: str | os.PathLike[str]) -> str:
    """The checksum of a checkpoint's file; OSError if there is none."""
    with (Path(directory) / FILE_NAME).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flatten(variables: Mapping[str, Any]) -> dict[str, Any]:
    return flax.traverse_util.flatten_dict(variables, sep="/")


def _problems(arrays: Mapping[str, np.ndarray], expected: Mapping[str, Shape]):
    for name in sorted(expected.keys() - arrays.keys()):
        yield f"  missing: {name}"
    for name in sorted(arrays.keys() - expected.keys()):
        yield f"  unknown: {name}"
    for name in sorted(arrays.keys() & expected.keys()):
        array, shape = arrays[name], expected[name]
        if array.shape != shape:
            yield f"  shape of {name}: {array.shape}, expected {shape}"
        elif not np.issubdtype(array.dtype, np.floating):
            yield f"  type of {name}: {array.dtype}, expected a floating point number"
        elif not np.isfinite(array).all():
            yield f"  values of {name}: not all finite"
