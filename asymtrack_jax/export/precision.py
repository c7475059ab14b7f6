"""Conversion of ONNX graphs to float16 or int8, and the error it causes."""

import copy
import dataclasses
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime
from jaxtyping import Float
from onnxruntime.quantization import quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16

from asymtrack_jax.config import ModelConfig
from asymtrack_jax.data.crop import crop_square
from asymtrack_jax.data.synthetic import render_clip

Precision = Literal["float32", "float16", "int8"]


def reduce_precision(graph: onnx.ModelProto, precision: Precision) -> onnx.ModelProto:
    """Returns a graph of lower precision; its inputs and outputs keep their types.

    - `float16`: all weights and operations. ONNX Runtime computes in float16 on GPUs; on CPUs it
      casts to float32 and back.
    - `int8`: matrix products with constant weights, by dynamic quantisation: weights per output
      channel, activations by their range at run time. Convolutions stay float32, since integer
      convolutions of ONNX Runtime are several times slower on CPUs.

    Args:
        graph: float32 graph; not modified.
        precision: precision of the result; `float32` returns `graph` itself.
    """
    if precision == "float32":
        return graph
    if precision == "float16":
        return convert_float_to_float16(copy.deepcopy(graph), keep_io_types=True)
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)  # its advice is for graphs of other exporters
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "quantised.onnx"
            quantize_dynamic(graph, path, op_types_to_quantize=["MatMul"], per_channel=True)
            return onnx.load(path)
    finally:
        logging.root.setLevel(level)


@dataclasses.dataclass(frozen=True)
class OutputDifference:
    """Absolute differences from the float32 results, over the frames of a rendered clip.

    Attributes:
        frames: number of frames.
        mean_box: mean difference of box coordinates (cx, cy, w, h), pixels of the search crop.
        max_box: largest difference of a box coordinate, pixels of the search crop.
        max_score: largest difference of a score.
    """

    frames: int
    mean_box: float
    max_box: float
    max_score: float

    def __str__(self) -> str:
        return (
            f"against float32, on {self.frames} frames of a rendered clip: boxes differ by "
            f"{self.mean_box:.3f} pixels of the search crop on average and by {self.max_box:.2f} "
            f"at most, scores by {self.max_score:.4f} at most"
        )


def precision_error(
    config: ModelConfig,
    reference: Mapping[str, onnx.ModelProto],
    directory: Path,
    num_frames: int = 60,
) -> OutputDifference:
    """Compares exported graphs with float32 ones, by ONNX Runtime on the CPU.

    Both run on the same crops around the true boxes of a rendered clip.

    Args:
        config: sizes of the network.
        reference: `init_template` and `step` in float32, by name.
        directory: folder with the graphs of lower precision that `export_onnx` wrote.
        num_frames: number of search frames.
    """
    clip = render_clip(num_frames + 1, (360, 480), seed=3)
    template, _ = crop_square(clip[0], clip.boxes[0], config.template_factor, config.template_size)
    searches = [
        crop_square(clip[i], clip.boxes[i - 1], config.search_factor, config.search_size)[0]
        for i in range(1, len(clip))
    ]
    programs = {name: graph.SerializeToString() for name, graph in reference.items()}
    others = {name: (directory / f"{name}.onnx").read_bytes() for name in programs}
    (boxes, scores), (other_boxes, other_scores) = (
        _predict(each, template, searches) for each in (programs, others)
    )
    pixels = config.search_size * np.abs(other_boxes - boxes)
    return OutputDifference(
        num_frames,
        float(pixels.mean()),
        float(pixels.max()),
        float(np.abs(other_scores - scores).max()),
    )


def _predict(
    programs: Mapping[str, bytes], template: np.ndarray, searches: list[np.ndarray]
) -> tuple[Float[np.ndarray, "T 4"], Float[np.ndarray, " T"]]:
    init_template, step = (
        onnxruntime.InferenceSession(programs[name], providers=["CPUExecutionProvider"])
        for name in ("init_template", "step")
    )
    names = [output.name for output in init_template.get_outputs()]
    outputs = init_template.run(names, {"template": template[None]})
    modulation = dict(zip(names, outputs, strict=True))
    results = [
        step.run(["boxes", "scores"], {**modulation, "search": search[None]}) for search in searches
    ]
    boxes, scores = (np.concatenate(column) for column in zip(*results, strict=True))
    return boxes, scores
