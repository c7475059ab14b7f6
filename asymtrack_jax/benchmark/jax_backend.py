"""The backend of this package: the network alone, and tracking from frames to boxes."""

import functools
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import flax
import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from asymtrack_jax.benchmark.case import FUNCTIONS, THREADS, Backend, BenchmarkCase, timed
from asymtrack_jax.compilation import set_precision
from asymtrack_jax.config import ModelConfig
from asymtrack_jax.models.asymtrack import AsymTrack, abstract_variables
from asymtrack_jax.models.efficientmod import Modulation
from asymtrack_jax.tracking.model import Model, load
from asymtrack_jax.tracking.tracker import advance, start
from asymtrack_jax.tracking.whole_video import track_frames

FRAME_SIZES = {"720p": (720, 1280), "480p": (480, 854)}
TARGETS_PER_HEIGHT = 6  # height of the frame over that of a target
CHUNK = 16  # frames per call of `video`
MATMUL_SIDES = {"cpu": 2048}


def setup(case: BenchmarkCase) -> Backend:
    """Loads the network of a case onto jax's default device, and compiles its functions."""
    model = load(case.network / "checkpoint", dtype=set_precision(case.precision))
    return setup_model(model, *case.images(), case.functions)


def setup_model(
    model: Model, template: np.ndarray, search: np.ndarray, functions: Sequence[str] = FUNCTIONS
) -> Backend:
    """Compiles a model's functions.

    Args:
        model: the model.
        template: uint8 crops, [B, Z, Z, 3].
        search: uint8 crops, [B, X, X, 3].
        functions: a selection of `case.FUNCTIONS`; init_template and step are always compiled.
    """
    template, search = jax.device_put((template, search))
    batch_size = len(search)

    def init_template() -> Modulation:
        return jax.block_until_ready(model.init_template(template))

    modulation, init_s = timed(init_template)

    def step() -> Any:
        return jax.block_until_ready(model.step(modulation, search))

    prediction, step_s = timed(step)
    operations = _operations(model.config, batch_size)
    measured: dict[str, dict[str, float]] = {
        "init_template": {"first_call_s": init_s, "operations": operations["init_template"]},
        "step": {"first_call_s": step_s, "operations": operations["step"]},
    }
    offered: dict[str, Callable[[], Any]] = {"init_template": init_template, "step": step}
    frames = {
        size: np.random.default_rng(0).integers(0, 256, (*sides, 3), np.uint8)
        for size, sides in FRAME_SIZES.items()
    }
    for size, frame in frames.items() if "tracking" in functions else ():
        offered[f"tracking {size}"] = _tracking(model, frame, batch_size)
    for size, frame in frames.items() if "video" in functions else ():
        name = f"video {size}, {CHUNK} frames"
        offered[name] = _video(model, frame, modulation)
        _, first_call_s = timed(offered[name])
        measured[name] = {"first_call_s": first_call_s, "frames": CHUNK}
        measured[name]["operations"] = CHUNK * operations["step"]
    offered["matmul"], measured["matmul"] = _matmul(model.dtype)
    return Backend(
        functions=offered,
        outputs={"boxes": np.asarray(prediction.boxes), "scores": np.asarray(prediction.scores)},
        facts={"kernels": model.kernels, **_facts()},
        measured=measured,
        device_bytes=_device_bytes,
    )


def _bboxes(frame: np.ndarray, count: int) -> np.ndarray:
    """Returns boxes inside a frame, xywh in pixels, [count, 4]."""
    height, width, _ = frame.shape
    corner = np.linspace([0.2 * width, 0.2 * height], [0.6 * width, 0.6 * height], count)
    return np.concat([corner, np.full((count, 2), height / TARGETS_PER_HEIGHT)], axis=1)


def _operations(config: ModelConfig, batch_size: int) -> dict[str, float]:
    """Counts floating point operations of both functions by XLA's analysis of the fused network."""
    network = AsymTrack(config, fused=True)
    variables = abstract_variables(config, fused=True)
    images = [
        jax.ShapeDtypeStruct((batch_size, side, side, 3), "float32")
        for side in (config.template_size, config.search_size)
    ]

    def count(method: str, *inputs: Any) -> float:
        apply = functools.partial(network.apply, method=method)
        lowered: Any = jax.jit(apply).lower(variables, *inputs)
        return lowered.cost_analysis()["flops"]

    init_template = count("init_template", images[0])
    return {"init_template": init_template, "step": count("__call__", *images) - init_template}


def _tracking(model: Model, frame: np.ndarray, targets: int) -> Callable[[], Any]:
    """Returns a function that tracks one frame: crops on the host, step, and boxes in the frame.

    Each call starts from the same boxes, so that the crops have the same size.
    """
    state = start(model, frame, _bboxes(frame, targets))
    return lambda: advance(model, state, frame)  # returns when its boxes are on the host


def _video(model: Model, frame: np.ndarray, modulation: Modulation) -> Callable[[], Any]:
    """Returns a function that tracks `CHUNK` frames on the device in one program, per target."""
    bboxes = _bboxes(frame, len(modulation.keys))
    frames = jnp.broadcast_to(jax.device_put(frame), (len(bboxes), CHUNK, *frame.shape))
    track: Any = jax.jit(functools.partial(track_frames, model))

    def call() -> Any:
        with jax.enable_x64(True):
            return jax.device_get(track(modulation, frames, bboxes, CHUNK))

    return call


def _matmul(dtype: Any) -> tuple[Callable[[], Any], dict[str, float]]:
    """Returns a product of large square matrices, whose operations per second define the peak."""
    side = MATMUL_SIDES.get(jax.default_backend(), 8192)
    keys = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (side, side), dtype) for key in keys)
    product = jax.jit(jnp.matmul)
    return lambda: jax.block_until_ready(product(a, b)), {"operations": 2.0 * side**3}


def _facts() -> dict[str, Any]:
    device = jax.devices()[0]
    libraries = (jax, jaxlib, flax, np, cv2)
    return {
        "platform": device.platform,
        "device": _processor() if device.platform == "cpu" else device.device_kind,
        "client": device.client.platform_version.splitlines()[0],
        "threads": THREADS,
        "python": platform.python_version(),
        **{library.__name__: library.__version__ for library in libraries},
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open() as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _device_bytes() -> int | None:
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
