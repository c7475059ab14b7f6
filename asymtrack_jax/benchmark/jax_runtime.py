"""This package as a contestant: the network, and tracking from end to end."""

import functools
import os
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from asymtrack_jax.benchmark.cell import FUNCTIONS, THREADS, Cell
from asymtrack_jax.benchmark.contest import Entry, first_call
from asymtrack_jax.compilation import keep_compiled, set_precision
from asymtrack_jax.config import ModelConfig
from asymtrack_jax.models.asymtrack import AsymTrack, abstract_variables
from asymtrack_jax.models.efficientmod import Modulation
from asymtrack_jax.tracking.model import Model, load
from asymtrack_jax.tracking.tracker import advance, start
from asymtrack_jax.tracking.whole_video import track_frames

SIZES = {"720p": (720, 1280), "480p": (480, 854)}
TARGET = 6  # a frame is as many times as high as the target in it
CHUNK = 16  # frames that a program of `video` follows through


def enter(cell: Cell) -> Entry:
    """The network of a cell, on jax's default device."""
    keep_compiled()
    model = load(cell.network / "checkpoint", dtype=set_precision(cell.precision))
    return enter_model(model, *cell.images(), functions=cell.functions)


def enter_model(
    model: Model,
    template: np.ndarray,
    search: np.ndarray,
    functions: Sequence[str] = FUNCTIONS,
) -> Entry:
    """Gets a model ready.

    Args:
        model: what is timed.
        template: images that it is to see, [B, Z, Z, 3].
        search: the same, [B, X, X, 3].
        functions: some of `cell.FUNCTIONS`; the last two are made only on demand.
    """
    template, search = jax.device_put((template, search))
    init_template, step = model._init_template, model._step  # what the methods call
    modulation, init_measured = _compile(init_template, model.init_template, template)
    prediction, step_measured = _compile(step, model.step, modulation, search)
    operations = _operations(model.config, search.shape[0])
    measured = {
        "init_template": {**init_measured, "operations": operations["init_template"]},
        "step": {**step_measured, "operations": operations["step"]},
    }
    calls: dict[str, Callable[[], Any]] = {
        "init_template": lambda: jax.block_until_ready(model.init_template(template)),
        "step": lambda: jax.block_until_ready(model.step(modulation, search)),
    }
    for name, size in SIZES.items():
        if "tracking" in functions:
            calls[f"tracking {name}"] = _tracking(model, *size, search.shape[0])
        if "video" in functions:
            video = f"video {name}, {CHUNK} frames"
            calls[video], measured[video] = _video(model, *size, modulation)
            measured[video]["operations"] = CHUNK * operations["step"]
    calls["matmul"], measured["matmul"] = _matmul(model.dtype)
    return Entry(
        calls=calls,
        outputs={"boxes": np.asarray(prediction.boxes), "scores": np.asarray(prediction.scores)},
        facts={"kernels": model.kernels, **_facts()},
        measured=measured,
        device_memory=_device_memory,
    )


def _compile(jitted: Any, method: Callable, *arguments: Any) -> tuple[Any, dict[str, float]]:
    """The first result of a method, and what it took to get there."""
    bound = ()
    if isinstance(jitted, functools.partial):  # of weights that are not compiled in
        jitted, bound = jitted.func, jitted.args
    lowered, trace_s = first_call(lambda: jitted.lower(*bound, *arguments))
    compiled, compile_s = first_call(lowered.compile)
    result, run_s = first_call(lambda: jax.block_until_ready(method(*arguments)))
    memory = compiled.memory_analysis()
    return result, {
        "trace_s": trace_s,
        "compile_s": compile_s,
        "first_call_s": trace_s + compile_s + run_s,
        "program_bytes": memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        + memory.generated_code_size_in_bytes,
    }


def _boxes(height: int, width: int, count: int) -> np.ndarray:
    """Targets that all fit into a frame, xywh."""
    corner = np.linspace([0.2 * width, 0.2 * height], [0.6 * width, 0.6 * height], count)
    return np.concat([corner, np.full((count, 2), height / TARGET)], axis=1)


def _operations(config: ModelConfig, batch_size: int) -> dict[str, float]:
    """Of both functions, counted in the textbook form, whatever kernels run them."""
    variables = abstract_variables(config, fused=True)

    def lower(method: str, *arguments: Any) -> Any:
        apply = functools.partial(AsymTrack(config, fused=True).apply, method=method)
        return jax.jit(apply).lower(variables, *arguments)

    template, search = (
        jax.ShapeDtypeStruct((batch_size, side, side, 3), "float32")
        for side in (config.template_size, config.search_size)
    )
    init_template = lower("init_template", template)
    lowered = {
        "init_template": init_template,
        "step": lower("step", init_template.out_info, search),
    }
    return {name: function.cost_analysis()["flops"] for name, function in lowered.items()}


def _tracking(model: Model, height: int, width: int, targets: int) -> Callable[[], Any]:
    """One frame of tracking: crops on the host, step, and the boxes back in the frame.

    Each call starts from the same boxes, so that each crop is of the same size.
    """
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    state = start(model, frame, _boxes(height, width, targets))
    return lambda: advance(model, state, frame)  # its boxes are on the host: it has waited


def _video(
    model: Model, height: int, width: int, modulation: Modulation
) -> tuple[Callable[[], Any], dict[str, float]]:
    """Many frames of a video a target in one program; frames are on the device before."""
    videos = modulation.keys.shape[0]
    frames = np.random.default_rng(0).integers(0, 256, (1, CHUNK, height, width, 3), np.uint8)
    frames = jnp.repeat(jax.device_put(frames), videos, axis=0)
    arguments = modulation, frames, _boxes(height, width, videos), CHUNK
    track: Any = jax.jit(functools.partial(track_frames, model))

    def call() -> Any:
        with jax.enable_x64(True):
            return jax.device_get(track(*arguments))

    with jax.enable_x64(True):
        _, measured = _compile(track, track, *arguments)
    return call, {**measured, "frames": CHUNK}


def _matmul(dtype: Any) -> tuple[Callable[[], Any], dict[str, float]]:
    """A product of two large square matrices: the most operations a second to hope for."""
    side = 2048 if jax.default_backend() == "cpu" else 8192
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (side, side), dtype) for key in keys)
    product = jax.jit(jnp.matmul)
    return lambda: jax.block_until_ready(product(a, b)), {"operations": 2.0 * side**3}


def _facts() -> dict[str, Any]:
    device = jax.devices()[0]
    libraries = ("jax", "jaxlib", "flax", "numpy", "opencv-python")
    return {
        "platform": device.platform,
        "device": _processor() if device.platform == "cpu" else device.device_kind,
        "client": device.client.platform_version.splitlines()[0],
        "threads": THREADS,
        "python": platform.python_version(),
        **{name: version(name) for name in libraries},
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        "matmul_precision": jax.config.jax_default_matmul_precision or "default",  # pyright: ignore[reportAttributeAccessIssue]
    }


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open() as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _device_memory() -> int | None:
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
