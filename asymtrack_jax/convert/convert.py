"""Converts published checkpoints to checkpoints of this project, and back.

The functions write their output atomically and return a summary as text.
"""

import dataclasses
import functools
import hashlib
import shlex
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import flax.traverse_util
import numpy as np

from asymtrack_jax.config import VARIANTS, ModelConfig, model_config
from asymtrack_jax.convert import rules
from asymtrack_jax.convert.torch_reader import Tensor, open_state_dict
from asymtrack_jax.errors import InputError
from asymtrack_jax.files import write_atomically
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.asymtrack import abstract_variables, init_variables


def from_pytorch(
    path: Path,
    variant: str,
    output: Path,
    *,
    backbone: bool = False,
    seed: int = 0,
    overwrite: bool = False,
) -> str:
    """Converts a published checkpoint to one of this project.

    Args:
        path: file written by `torch.save`. The state dict `net` of a tracker is read, or with
            `backbone` the state dict `state_dict` of an ImageNet EfficientMod-xxs; other content is
            ignored.
        variant: name of the variant, whose shapes must match.
        output: checkpoint directory to write.
        backbone: whether the file holds a backbone only; all other variables are initialised.
        seed: random seed of the initialisation.
        overwrite: replace the checkpoint in a directory that exists.

    Returns:
        A summary of what was read, converted, dropped and initialised.

    Raises:
        InputError: the file is damaged, unsafe or of another network, a weight is not finite, or
            the output exists or is a file.
    """
    _check_output(output, overwrite)
    if output.is_file():
        raise InputError(f"{output} is a file, and --output a directory to write; choose another")
    key = "state_dict" if backbone else "net"
    table_of = rules.backbone_table if backbone else rules.tracker_table
    config = model_config(variant)
    table = table_of(config)
    with open_state_dict(path, key) as tensors:
        _check_fit(path, variant, table_of, tensors)
        names = list(tensors)
        arrays = _read_finite(path, table, tensors)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    dropped = _count_exemptions(table.dropped, names)
    metadata = {
        "source": path.name,
        "sha256": sha256,
        "variant": variant,
        "kind": "backbone" if backbone else "tracker",
        "dropped": dropped,
    }
    used = sum(len(rule.published) for rule in table.rules)
    summary = [
        f"{path}: {len(names)} tensors in {key!r}, sha256 {sha256}",
        f"  converted {used} tensors to {len(arrays)} arrays",
        *(f"  dropped {line}" for line in dropped),
    ]
    if backbone:
        initial = {p: np.asarray(a) for p, a in _flatten(init_variables(config, seed)).items()}
        fresh = _count_exemptions(table.fresh, initial)
        arrays = initial | arrays
        metadata |= {"fresh": fresh, "seed": seed}
        summary += (f"  initialised with seed {seed}: {line}" for line in fresh)
    variables = flax.traverse_util.unflatten_dict(arrays, sep="/")
    checkpoint.save(output, config, variables, metadata, overwrite=overwrite)
    summary.append(f"wrote {output}: {variant}, {rules.count_parameters(arrays):,} parameters")
    if backbone:
        summary.append(
            f"next: asymtrack train --config {variant} "
            f"--config.run.init_from={shlex.quote(str(output))}; it cannot track yet"
        )
    else:
        summary += _twins(variant)
        summary.append(
            "next: asymtrack track VIDEO --init-bbox x,y,w,h "
            f"--checkpoint {shlex.quote(str(output))} --output out.mp4"
        )
    return "\n".join(summary)


def to_pytorch(directory: Path, output: Path, *, overwrite: bool = False) -> str:
    """Converts a checkpoint of this project to the published network's state dict.

    Names and layouts are the published ones of the training form, so that PyTorch loads it
    strictly. Tensors that the published network has but does not use are zeros.

    Args:
        directory: directory of the checkpoint.
        output: safetensors file to write.
        overwrite: replace a file that exists.

    Returns:
        A summary of what was written.

    Raises:
        InputError: there is no valid checkpoint, the output exists or is a directory, or its folder
            does not exist.
    """
    _check_output(output, overwrite)
    if output.is_dir():
        raise InputError(f"{output} is a directory, and --output a file to write; choose another")
    if not output.parent.is_dir():
        raise InputError(f"there is no folder {output.parent} for {output.name}; create it first")
    saved = checkpoint.read(directory)
    arrays = _flatten(saved.variables)
    table = rules.tracker_table(saved.config)
    unused = rules.unused_tensors(saved.config)
    tensors = rules.to_published(table, arrays.__getitem__) | unused
    zeros = _count_exemptions(table.dropped, unused)
    metadata = {"format": "pt", "zeros": "; ".join(zeros)}
    content = checkpoint.serialise(tensors, metadata)
    write_atomically(output, content)
    return "\n".join(
        [
            f"{directory}: {len(arrays)} arrays, {rules.count_parameters(arrays):,} parameters",
            *(f"  zeros for {line}" for line in zeros),
            f"wrote {output}: {len(tensors)} tensors, sha256 {hashlib.sha256(content).hexdigest()}",
            "next, in PyTorch: "
            f"network.load_state_dict(safetensors.torch.load_file({str(output)!r}))",
        ]
    )


def _check_output(output: Path, overwrite: bool) -> None:
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists; choose another --output, or pass --overwrite")


def _check_fit(
    path: Path,
    variant: str,
    table_of: Callable[[ModelConfig], rules.Table],
    tensors: Mapping[str, Tensor],
) -> None:
    def problems(name: str) -> dict[str, list[str]]:
        config = VARIANTS[name]
        return rules.problems(table_of(config), tensors, _expected(config))

    if not (found := problems(variant)):
        return
    if fitting := [name for name in VARIANTS if name != variant and not problems(name)]:
        raise InputError(
            f"{path} is not a checkpoint of {variant}: it fits --variant {' or '.join(fitting)}"
        )
    details = "\n".join(
        f"  {problem} ({len(names)}): {_listed(names)}" for problem, names in found.items()
    )
    raise InputError(f"{path} is not a checkpoint of {variant}, nor of another variant:\n{details}")


@functools.cache
def _expected(config: ModelConfig) -> Mapping[str, rules.TensorLike]:
    return _flatten(abstract_variables(config))


def _read_finite(
    path: Path, table: rules.Table, tensors: Mapping[str, Tensor]
) -> dict[str, np.ndarray]:
    """Reads arrays by our paths, float32; raises `InputError` if a value is not finite."""
    broken = []

    def read(name: str) -> np.ndarray:
        array = _float32(tensors[name].read())
        if not np.isfinite(array).all():
            broken.append(name)
        return array

    arrays = rules.to_ours(table, read)
    if broken:
        raise InputError(f"{path} holds weights that are NaN or infinite: {_listed(broken)}")
    return arrays


def _float32(array: np.ndarray) -> np.ndarray:
    # Values beyond float32 become infinite, which is reported.
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float32)


def _flatten(variables: Mapping) -> dict:
    return flax.traverse_util.flatten_dict(variables, sep="/")


def _count_exemptions(exemptions: Iterable[rules.Exemption], names: Iterable[str]) -> list[str]:
    """Formats one line per exemption that covers any of the names."""
    names = list(names)
    lines = []
    for exemption in exemptions:
        if count := sum(map(exemption.covers, names)):
            lines.append(f"{count} {exemption.name}: {exemption.reason}")
    return lines


def _twins(variant: str) -> list[str]:
    """Notes variants whose weights have the same shapes, which a file cannot tell apart."""
    config = VARIANTS[variant]
    sizes = {"search_size": config.search_size, "template_size": config.template_size}
    twins = [
        name
        for name, other in VARIANTS.items()
        if name != variant and dataclasses.replace(other, **sizes) == config
    ]
    return [
        f"note: {variant} and {name} have weights of the same shapes; "
        "the file does not record the variant"
        for name in twins
    ]


def _listed(names: list[str], limit: int = 10) -> str:
    more = f", and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
