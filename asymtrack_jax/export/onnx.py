"""ONNX export: graphs of the network, built layer by layer, for ONNX Runtime and edge devices.

The graphs compute the fused form. Between convolutions features are tokens, [B H W, C], so that
linear layers are matrix products with a bias and layer norms act on the last axis. Convolutions,
which are [B, C, H, W] in ONNX, stand between transpositions, which ONNX Runtime merges with its own
layout conversions. Attention keys [B, heads, d, N] and values [B, heads, N, d] are passed between
the graphs in the layouts of the attention's matrix products.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from asymtrack_jax.config import ModelConfig
from asymtrack_jax.export.files import write
from asymtrack_jax.export.precision import Precision, reduce_precision
from asymtrack_jax.images import IMAGENET_MEAN, IMAGENET_STD
from asymtrack_jax.models.modulation import KERNEL_WIDTH
from asymtrack_jax.tracking.calibration import MIN_SCORE, Calibration

OPSET = 20  # the first opset with Gelu
LAYER_NORM_EPSILON = 1e-5

Params = Mapping[str, Any]


def export_onnx(
    config: ModelConfig,
    variables: Params,
    directory: str | os.PathLike[str],
    calibration: Calibration | None = None,
    precision: Precision = "float32",
) -> list[Path]:
    """Writes `init_template.onnx`, `step.onnx` and `tracker.json`.

    Args:
        config: sizes of the network.
        variables: variables of the fused form (`models.fuse`).
        directory: folder to write, created if it does not exist; existing files are replaced.
        calibration: calibration of the scores; None leaves them uncalibrated.
        precision: precision of the graphs (see `reduce_precision`).

    Returns:
        Paths of the files.
    """
    programs = {}
    for name, graph in build_graphs(config, variables, calibration).items():
        programs[f"{name}.onnx"] = reduce_precision(graph, precision).SerializeToString()
    return write(Path(directory), config, programs, calibration, precision)


def build_graphs(
    config: ModelConfig, variables: Params, calibration: Calibration | None = None
) -> dict[str, onnx.ModelProto]:
    """Builds `init_template` and `step` in float32; arguments are those of `export_onnx`.

    Returns:
        The checked ONNX models by name.
    """
    params = variables["params"]
    graphs = {
        "init_template": _init_template(config, params),
        "step": _step(config, params, calibration),
    }
    models = {name: graph.build(name) for name, graph in graphs.items()}
    for model in models.values():
        onnx.checker.check_model(model, full_check=True)
    return models


class Graph:
    """Builder of an ONNX graph; `input`, `constant` and `op` return the names of their values."""

    def __init__(self):
        self._nodes, self._constants = [], []
        self._inputs, self._outputs = [], []

    def input(self, name: str, dtype: int, shape: Sequence[int]) -> str:
        """Declares an input of an ONNX data type; `shape` excludes the batch axis."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, ["batch", *shape]))
        return name

    def output(self, name: str, value: str, shape: Sequence[int]) -> None:
        """Declares a float32 output; `shape` excludes the batch axis."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        info = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", *shape])
        self._outputs.append(info)

    def constant(self, array: Any) -> str:
        """Adds a constant; float64 arrays are cast to float32."""
        array = np.asarray(array)
        if array.dtype == np.float64:
            array = array.astype(np.float32)
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def op(self, kind: str, *inputs: Any, **attributes: Any) -> str:
        """Adds an operation with one output; inputs that are not names become constants."""
        names = [value if isinstance(value, str) else self.constant(value) for value in inputs]
        output = f"{kind}{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, names, [output], output, **attributes))
        return output

    def build(self, name: str) -> onnx.ModelProto:
        """Returns the graph as an ONNX model."""
        graph = helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, initializer=self._constants
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model_gen_version(
            graph, producer_name="asymtrack_jax", opset_imports=[opset]
        )


@dataclasses.dataclass(frozen=True)
class Tokens:
    """Features of a square grid.

    Attributes:
        value: name of the value, [B side side, channels].
        side: height and width of the grid.
        channels: number of channels.
    """

    value: str
    side: int
    channels: int


def _init_template(config: ModelConfig, params: Params) -> Graph:
    c, g, backbone = config, Graph(), params["backbone"]
    z = _embed_pixels(g, "template", c.template_size, backbone["patch_embed"])
    for stage in (1, 2, 3):
        part = backbone[f"stage{stage}"]
        z = _blocks(g, z, part)
        if stage > 1:
            _template_kernels(g, z, part["modulation"], stage)
        z = _perception(g, z, part["perception"])
        if stage < 3:
            z = _downsample(g, z, part["downsample"])
    attention, count = backbone["stage3"]["attention"], z.side**2
    normed = _plain_norm(g, z)
    keys = _heads(g, _linear(g, normed, attention["key"]), c, count, (0, 2, 3, 1))
    values = _heads(g, _linear(g, normed, attention["value"]), c, count, (0, 2, 1, 3))
    g.output("keys", keys, (c.num_heads, c.head_dim, count))
    g.output("values", values, (c.num_heads, count, c.head_dim))
    return g


def _step(config: ModelConfig, params: Params, calibration: Calibration | None) -> Graph:
    c, g, backbone = config, Graph(), params["backbone"]
    kernels = {}
    for stage, count in zip((2, 3), c.num_kernels, strict=True):
        shapes = {"depthwise": (count, KERNEL_WIDTH), "pointwise": (count, count)}
        kernels[stage] = [
            g.input(f"stage{stage}_{name}", onnx.TensorProto.FLOAT, shape)
            for name, shape in shapes.items()
        ]
    count = (c.template_size // 16) ** 2
    keys = g.input("keys", onnx.TensorProto.FLOAT, (c.num_heads, c.head_dim, count))
    values = g.input("values", onnx.TensorProto.FLOAT, (c.num_heads, count, c.head_dim))
    x = _embed_pixels(g, "search", c.search_size, backbone["patch_embed"])
    for stage in (1, 2, 3):
        part = backbone[f"stage{stage}"]
        x = _blocks(g, x, part)
        if stage > 1:
            x = _modulate(g, x, part["modulation"], *kernels[stage])
        x = _perception(g, x, part["perception"])
        if stage == 3:
            x = _attend(g, x, part["attention"], c, keys, values)
        x = _downsample(g, x, part["downsample"])
    x = _images(g, dataclasses.replace(x, value=_linear(g, x.value, params["neck"])))
    towers = [_tower(g, x, params["head"][name]) for name in ("top_left", "bottom_right")]
    scores = _decode(g, towers, c.grid_size)
    g.output("scores", _calibrate(g, scores, calibration) if calibration else scores, ())
    return g


def _embed_pixels(g: Graph, name: str, side: int, p: Params) -> Tokens:
    """Adds the patch embedding; normalisation by the standard deviation is in its kernel."""
    pixels = g.input(name, onnx.TensorProto.UINT8, (side, side, 3))
    pixels = g.op("Transpose", pixels, perm=(0, 3, 1, 2))
    images = g.op("Cast", pixels, to=onnx.TensorProto.FLOAT)
    images = g.op("Sub", images, 255 * np.array(IMAGENET_MEAN)[:, None, None])
    kernel = np.asarray(p["conv"]["kernel"]) / (255 * np.array(IMAGENET_STD)[:, None])
    return _patch_embed(g, images, side, {**p, "conv": {**p["conv"], "kernel": kernel}}, stride=4)


def _patch_embed(g: Graph, images: str, side: int, p: Params, stride: int) -> Tokens:
    images = _conv(g, images, p["conv"]["kernel"], p["conv"]["bias"], stride=stride)
    x = _tokens(g, images, side // stride, p["conv"]["bias"].size)
    return dataclasses.replace(x, value=_norm(g, x.value, p["norm"]))


def _downsample(g: Graph, x: Tokens, p: Params) -> Tokens:
    return _patch_embed(g, _images(g, x), x.side, p, stride=2)


def _blocks(g: Graph, x: Tokens, stage: Params) -> Tokens:
    for i in range(sum(name.startswith("blocks_") for name in stage)):
        x = _block(g, x, stage[f"blocks_{i}"])
    return x


def _block(g: Graph, x: Tokens, p: Params) -> Tokens:
    normed = _plain_norm(g, x)
    context = dataclasses.replace(x, value=_linear(g, normed, p["context_in"]))
    conv = p["context_conv"]
    filtered = _conv(g, _images(g, context), conv["kernel"], conv["bias"], group=x.channels)
    context = g.op("Gelu", _tokens(g, filtered, x.side, x.channels).value)
    context = _linear(g, context, p["context_out"])
    hidden = _linear(g, normed, p["fc1"])
    width = p["fc1"]["kernel"].shape[-1]
    if width > x.channels:
        hidden = g.op("Reshape", g.op("Gelu", hidden), [-1, width // x.channels, x.channels])
        context = g.op("Unsqueeze", context, [1])
    hidden = g.op("Reshape", g.op("Mul", hidden, context), [-1, width])
    return _add(g, x, _linear(g, hidden, p["fc2"]))


def _template_kernels(g: Graph, z: Tokens, p: Params, stage: int) -> None:
    assignment, batched = _assign(g, z, p["template_assignment"])
    gathered = g.op("MatMul", g.op("Transpose", assignment, perm=(0, 2, 1)), batched)
    count = p["template_assignment"]["kernel"].shape[-1]
    weights = _linear_batched(g, gathered, p["kernel_weights"])
    depthwise = g.op("Slice", weights, [0], [KERNEL_WIDTH], [2])
    pointwise = g.op("Slice", weights, [KERNEL_WIDTH], [KERNEL_WIDTH + count], [2])
    g.output(f"stage{stage}_depthwise", depthwise, (count, KERNEL_WIDTH))
    g.output(f"stage{stage}_pointwise", pointwise, (count, count))


def _modulate(g: Graph, x: Tokens, p: Params, depthwise: str, pointwise: str) -> Tokens:
    assignment, batched = _assign(g, x, p["search_assignment"])
    prototypes = g.op("MatMul", g.op("Transpose", assignment, perm=(0, 2, 1)), batched)
    pad = KERNEL_WIDTH // 2
    padded = g.op("Pad", prototypes, np.array([0, 0, pad, 0, 0, pad]))
    taps = np.arange(KERNEL_WIDTH)[:, None] + np.arange(x.channels)
    windows = g.op("Gather", padded, taps, axis=2)  # [B, N, 3, C]
    prototypes = g.op("MatMul", g.op("Unsqueeze", depthwise, [2]), windows)
    prototypes = g.op("Relu", g.op("Squeeze", prototypes, [2]))
    prototypes = _norm(g, g.op("MatMul", pointwise, prototypes), p["prototype_norm"])
    gate = g.op("Transpose", _linear_batched(g, prototypes, p["gate"]), perm=(0, 2, 1))
    gate = g.op("Sigmoid", g.op("MatMul", gate, prototypes))
    spread = g.op("Mul", g.op("MatMul", assignment, prototypes), gate)
    modulation = g.op("Relu", _norm(g, spread, p["norm"]))
    return _add(g, x, g.op("Reshape", modulation, [-1, x.channels]))


def _assign(g: Graph, x: Tokens, p: Params) -> tuple[str, str]:
    """Adds the assignment of tokens to prototypes, [B, H W, N]; also returns tokens [B, H W, C]."""
    assignment = _linear(g, x.value, p)
    batched = g.op("Reshape", x.value, [-1, x.side**2, x.channels])
    return g.op("Reshape", assignment, [-1, x.side**2, p["kernel"].shape[-1]]), batched


def _perception(g: Graph, x: Tokens, p: Params) -> Tokens:
    enhanced = _tokens(g, _conv(g, _images(g, x), p["kernel"]), x.side, x.channels)
    enhanced = g.op("Relu", _norm(g, enhanced.value, p["norm"]))
    return _add(g, x, g.op("Mul", enhanced, p["scale"]))


def _attend(
    g: Graph, x: Tokens, p: Params, c: ModelConfig, template_keys: str, template_values: str
) -> Tokens:
    normed, count = _plain_norm(g, x), x.side**2
    query = {name: value * c.head_dim**-0.5 for name, value in p["query"].items()}
    queries = _heads(g, _linear(g, normed, query), c, count, (0, 2, 1, 3))
    keys = _heads(g, _linear(g, normed, p["key"]), c, count, (0, 2, 3, 1))
    values = _heads(g, _linear(g, normed, p["value"]), c, count, (0, 2, 1, 3))
    keys = g.op("Concat", keys, template_keys, axis=3)
    values = g.op("Concat", values, template_values, axis=2)
    weights = g.op("Softmax", g.op("MatMul", queries, keys), axis=-1)
    attended = g.op("Transpose", g.op("MatMul", weights, values), perm=(0, 2, 1, 3))
    attended = g.op("Reshape", attended, [-1, c.num_heads * c.head_dim])
    x = _add(g, x, _linear(g, attended, p["proj"]))
    hidden = g.op("Gelu", _linear(g, _plain_norm(g, x), p["fc1"]))
    return _add(g, x, _linear(g, hidden, p["fc2"]))


def _heads(g: Graph, x: str, c: ModelConfig, count: int, perm: Sequence[int]) -> str:
    """Reshapes tokens [B N, heads d] to [B, N, heads, d] and transposes them by `perm`."""
    return g.op("Transpose", g.op("Reshape", x, [-1, count, c.num_heads, c.head_dim]), perm=perm)


def _tower(g: Graph, images: str, p: Params) -> str:
    for i in range(1, len(p)):
        layer = p[f"conv{i}"]
        images = g.op("Relu", _conv(g, images, layer["kernel"], layer["bias"]))
    return _conv(g, images, p["score"]["kernel"], p["score"]["bias"])


def _decode(g: Graph, towers: Sequence[str], side: int) -> str:
    """Declares the output `boxes` and returns the uncalibrated scores (see `models.head`)."""
    maps = g.op("Reshape", g.op("Concat", *towers, axis=1), [-1, 2, side**2])
    probabilities = g.op("Softmax", maps, axis=-1)
    y, x = np.divmod(np.arange(side**2), side)
    corners = g.op("MatMul", probabilities, np.stack([x, y], axis=-1) / side)
    to_cxcywh = np.array([[0.5, 0, -1, 0], [0, 0.5, 0, -1], [0.5, 0, 1, 0], [0, 0.5, 0, 1]])
    g.output("boxes", g.op("MatMul", g.op("Reshape", corners, [-1, 4]), to_cxcywh), (4,))
    down, right = y - y[:, None], x - x[:, None]
    windows = ((down == 0) | (down == 1)) & ((right == 0) | (right == 1))  # of two by two cells
    sums = g.op("MatMul", probabilities, windows.T.astype(np.float32))
    largest = g.op("ReduceMax", sums, [2], keepdims=0)
    return g.op("Sqrt", g.op("ReduceProd", largest, [1], keepdims=0))


def _calibrate(g: Graph, scores: str, calibration: Calibration) -> str:
    """Adds the computation of `Calibration.__call__`."""
    clipped = g.op("Clip", scores, MIN_SCORE, 1 - MIN_SCORE)
    logits = g.op("Log", g.op("Div", clipped, g.op("Sub", 1.0, clipped)))
    scaled = g.op("Mul", logits, calibration.slope)
    return g.op("Sigmoid", g.op("Add", scaled, calibration.offset))


def _conv(
    g: Graph, images: str, kernel: Any, bias: Any = None, *, stride: int = 1, group: int = 1
) -> str:
    """Adds a convolution padded by k // 2; the kernel is [k, k, in / group, out]."""
    size = kernel.shape[0]
    weights = [np.transpose(kernel, (3, 2, 0, 1)), *([] if bias is None else [bias])]
    return g.op(
        "Conv",
        images,
        *weights,
        kernel_shape=[size, size],
        pads=[size // 2] * 4,
        strides=[stride, stride],
        group=group,
    )


def _linear(g: Graph, x: str, p: Params) -> str:
    return g.op("Gemm", x, p["kernel"], p["bias"])


def _linear_batched(g: Graph, x: str, p: Params) -> str:
    return g.op("Add", g.op("MatMul", x, p["kernel"]), p["bias"])


def _norm(g: Graph, x: str, p: Params) -> str:
    scale, bias = p["scale"], p["bias"]
    return g.op("LayerNormalization", x, scale, bias, axis=-1, epsilon=LAYER_NORM_EPSILON)


def _plain_norm(g: Graph, x: Tokens) -> str:
    ones = np.ones(x.channels, np.float32)
    return g.op("LayerNormalization", x.value, ones, axis=-1, epsilon=LAYER_NORM_EPSILON)


def _add(g: Graph, x: Tokens, value: str) -> Tokens:
    return dataclasses.replace(x, value=g.op("Add", x.value, value))


def _images(g: Graph, x: Tokens) -> str:
    grid = g.op("Reshape", x.value, [-1, x.side, x.side, x.channels])
    return g.op("Transpose", grid, perm=(0, 3, 1, 2))


def _tokens(g: Graph, images: str, side: int, channels: int) -> Tokens:
    rows = g.op("Transpose", images, perm=(0, 2, 3, 1))
    return Tokens(g.op("Reshape", rows, [-1, channels]), side, channels)
