"""StableHLO export: programs for `jax.export.deserialize` on CPU, CUDA and TPU."""

import os
from pathlib import Path

import flatbuffers  # noqa: F401  (jax.export needs it; a missing one raises before any work)
import jax
from jax import export
from jaxtyping import Array, Float, UInt8

from asymtrack_jax.export.files import write
from asymtrack_jax.models.efficientmod import Modulation
from asymtrack_jax.models.modulation import DynamicKernels
from asymtrack_jax.tracking.model import Model

PLATFORMS = ("cpu", "cuda", "tpu")


def export_stablehlo(model: Model, directory: str | os.PathLike[str]) -> list[Path]:
    """Writes `init_template.jax_export`, `step.jax_export` and `tracker.json`.

    The programs exchange the modulation as a dict of arrays, so that JAX alone can load and run
    them. JAX guarantees to read such files for six months after the release that wrote them.

    Args:
        model: the model to export, run by XLA (`native=False`).
        directory: folder to write, created if it does not exist; existing files are replaced.

    Returns:
        Paths of the files.
    """
    c = model.config

    def init_template(template: UInt8[Array, "B Z Z 3"]) -> dict[str, Array]:
        return to_dict(model.init_template(template))

    def step(
        modulation: dict[str, Array], search: UInt8[Array, "B X X 3"]
    ) -> dict[str, Float[Array, "..."]]:
        prediction = model.step(from_dict(modulation), search)
        return {"boxes": prediction.boxes, "scores": prediction.scores}

    (batch,) = export.symbolic_shape("batch")
    template, search = (
        jax.ShapeDtypeStruct((batch, side, side, 3), "uint8")
        for side in (c.template_size, c.search_size)
    )
    modulation = jax.eval_shape(init_template, template)
    programs = {}
    for function, arguments in ((init_template, (template,)), (step, (modulation, search))):
        exported = export.export(jax.jit(function), platforms=PLATFORMS)(*arguments)
        programs[f"{function.__name__}.jax_export"] = bytes(exported.serialize())
    return write(Path(directory), c, programs, model.calibration)


def to_dict(modulation: Modulation) -> dict[str, Array]:
    """Returns the arrays of a modulation by name."""
    return {
        "stage2_depthwise": modulation.stage2.depthwise,
        "stage2_pointwise": modulation.stage2.pointwise,
        "stage3_depthwise": modulation.stage3.depthwise,
        "stage3_pointwise": modulation.stage3.pointwise,
        "keys": modulation.keys,
        "values": modulation.values,
    }


def from_dict(arrays: dict[str, Array]) -> Modulation:
    """Returns the modulation of a dict that `to_dict` returned."""
    return Modulation(
        DynamicKernels(arrays["stage2_depthwise"], arrays["stage2_pointwise"]),
        DynamicKernels(arrays["stage3_depthwise"], arrays["stage3_pointwise"]),
        arrays["keys"],
        arrays["values"],
    )
