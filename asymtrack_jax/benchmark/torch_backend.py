"""The backend PyTorch, eager or compiled by TorchInductor, on the ONNX files of `export`.

Every ONNX operation is translated to a PyTorch function, with weights and features in PyTorch's
fastest layout (channels last). docs/performance.md compares the speed with that of a network
written in PyTorch.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from asymtrack_jax.benchmark.case import THREADS, Backend, BenchmarkCase, timed

# Imported by name, since the package does not depend on them.
onnx: Any = importlib.import_module("onnx")
torch: Any = importlib.import_module("torch")
F: Any = torch.nn.functional


def setup(case: BenchmarkCase, *, compiled: bool) -> Backend:
    """Loads the network of a case on the GPU if PyTorch has one (with CUDA graphs if compiled)."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(THREADS)
    full = case.precision == "highest"
    torch.set_float32_matmul_precision("highest" if full else "high")  # high: TF32 on a GPU
    torch.backends.cudnn.allow_tf32 = not full
    dtype = torch.bfloat16 if case.precision == "bfloat16" else torch.float32
    template, search = (torch.from_numpy(array).to(device) for array in case.images())

    def load(name: str) -> tuple[Any, list[str], list[str]]:
        model = onnx.load(case.network / "onnx" / f"{name}.onnx")
        network = to_torch(model, dtype).to(device)
        if compiled:
            options = {"freezing": True, "triton.cudagraphs": device == "cuda"}
            network = torch.compile(network, dynamic=False, options=options)
        return network, _names(model.graph.input), _names(model.graph.output)

    def run(network: Any, *inputs: Any) -> Any:
        with torch.inference_mode():
            outputs = network(*inputs)
        if device == "cuda":
            torch.cuda.synchronize()
        return outputs

    init_template, _, modulation_names = load("init_template")
    step, input_names, output_names = load("step")
    modulation, init_s = timed(lambda: run(init_template, template))
    # Copied, since CUDA graphs reuse the memory of their outputs.
    inputs = {name: leaf.clone() for name, leaf in zip(modulation_names, modulation, strict=True)}
    inputs = [{"search": search, **inputs}[name] for name in input_names]
    outputs, step_s = timed(lambda: run(step, *inputs))
    outputs = {n: leaf.cpu().numpy() for n, leaf in zip(output_names, outputs, strict=True)}
    return Backend(
        functions={
            "init_template": lambda: run(init_template, template),
            "step": lambda: run(step, *inputs),
        },
        outputs=outputs,
        facts={
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        },
        measured={"init_template": {"first_call_s": init_s}, "step": {"first_call_s": step_s}},
        device_bytes=torch.cuda.max_memory_allocated if device == "cuda" else lambda: None,
    )


# Functions of an ONNX operation's inputs (shapes and axes as lists) and attributes.
OPERATIONS: dict[str, Callable] = {
    "Add": torch.add,
    "Cast": lambda x, *, to: x.to(to),
    "Clip": torch.clamp,
    "Concat": lambda *parts, axis: torch.cat(parts, axis),
    "Conv": lambda x, weight, bias=None, *, kernel_shape, pads, strides, group: F.conv2d(
        x, weight, bias, strides, pads[:2], groups=group
    ),
    "Div": torch.div,
    "Gather": lambda x, indices, *, axis: x.movedim(axis, 0)[indices].movedim((0, 1), (-2, -1)),
    "Gelu": F.gelu,
    "Gemm": F.linear,
    "Identity": lambda x: x,
    "LayerNormalization": lambda x, scale, bias=None, *, axis, epsilon: F.layer_norm(
        x, scale.shape, scale, bias, epsilon
    ),
    "Log": torch.log,
    "MatMul": lambda x, y: x.to(y.dtype) @ y,  # a softmax's result is float32
    "Mul": torch.mul,
    "Pad": lambda x, pads: F.pad(x, np.reshape(pads, (2, -1)).T[::-1].ravel().tolist()),
    "ReduceMax": lambda x, axes, *, keepdims: x.amax(axes),
    "ReduceProd": lambda x, axes, *, keepdims: x.prod(axes[0]),
    "Relu": torch.relu,
    "Reshape": lambda x, shape: x.reshape(shape),
    "Sigmoid": torch.sigmoid,
    "Slice": lambda x, starts, ends, axes: x.narrow(axes[0], starts[0], ends[0] - starts[0]),
    "Softmax": lambda x, *, axis: x.softmax(axis, torch.float32),
    "Sqrt": torch.sqrt,
    "Squeeze": lambda x, axes: x.squeeze(axes[0]),
    "Sub": torch.sub,
    "Transpose": lambda x, *, perm: x.permute(perm),
    "Unsqueeze": lambda x, axes: x.unsqueeze(axes[0]),
}


def to_torch(model: Any, dtype: Any) -> Any:
    """Translates an ONNX model of `export.onnx` to a torch module.

    Args:
        model: an `onnx.ModelProto`.
        dtype: dtype of weights and features; decoding of the score maps is in float32.

    Returns:
        A `torch.fx.GraphModule` with the model's inputs and outputs, in order.
    """
    nodes, module, graph = list(model.graph.node), torch.nn.Module(), torch.fx.Graph()
    linear = {node.input[1] for node in nodes if node.op_type == "Gemm"}
    softmaxes = [index for index, node in enumerate(nodes) if node.op_type == "Softmax"]
    decoding = max(softmaxes, default=len(nodes))  # the last softmax is over the score maps
    exact = {name for node in nodes[decoding:] for name in node.input}
    tracer = torch.fx.proxy.GraphAppendingTracer(graph)
    values: dict[str, Any] = {}
    for tensor in model.graph.initializer:
        array, name = onnx.numpy_helper.to_array(tensor), tensor.name
        if array.dtype.kind == "i" and array.ndim <= 1:  # a shape, or axes
            values[name] = array.tolist()
            continue
        weight = torch.from_numpy(array.copy())
        if weight.is_floating_point() and name not in exact:
            weight = weight.to(dtype)
        if name in linear:  # [in, out] to PyTorch's [out, in]
            weight = weight.T.contiguous()
        if weight.ndim == 4:
            weight = weight.contiguous(memory_format=torch.channels_last)
        module.register_buffer(name, weight)
        values[name] = torch.fx.Proxy(graph.get_attr(name), tracer)
    for name in _names(model.graph.input):
        values[name] = torch.fx.Proxy(graph.placeholder(name), tracer)
    for node in nodes:
        attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        if node.op_type == "Cast":
            attributes = {"to": dtype}
        inputs = [values[name] for name in node.input]
        values[node.output[0]] = OPERATIONS[node.op_type](*inputs, **attributes)
    graph.output(tuple(values[name].node for name in _names(model.graph.output)))
    return torch.fx.GraphModule(module, graph)


def _names(values: Any) -> list[str]:
    return [value.name for value in values]
