"""The network bound to its weights: two compiled functions, `init_template` and `step`."""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, UInt8

from asymtrack_jax.compilation import Jitted, enable_compilation_cache
from asymtrack_jax.config import ModelConfig, variant_name
from asymtrack_jax.errors import InputError
from asymtrack_jax.images import normalise
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.asymtrack import AsymTrack
from asymtrack_jax.models.efficientmod import Modulation
from asymtrack_jax.models.fuse import fuse
from asymtrack_jax.models.head import Prediction
from asymtrack_jax.native import library
from asymtrack_jax.native.network import NativeNetwork
from asymtrack_jax.native.weights import pack
from asymtrack_jax.tracking.calibration import Calibration, read_calibration
from asymtrack_jax.weights import TINY

Image = Float[Array | np.ndarray, "B S S 3"] | UInt8[Array | np.ndarray, "B S S 3"]

DTYPES = ("float32", "bfloat16")

# More take over 32 MiB, which glibc has the kernel map and clear again in each call: a third of the
# time (docs/performance.md).
CHUNK_PIXELS = 3 * 256**2


class Model:
    """AsymTrack with its weights. It has no state: both methods are pure functions.

    Both methods compile once per batch size and dtype of the images. Images are normalised float32
    (`images.normalise`), or uint8 RGB, which is normalised on the device.

    Attributes:
        config: sizes of the network.
        variables: variables for `AsymTrack(config, fused).apply`, whichever kernels are used;
            `params` in `dtype`.
        fused: whether the variables are of the fused form.
        dtype: dtype that the network computes in, float32 or bfloat16.
        calibration: calibration of the scores, applied in `step`; None if they are not calibrated.
        kernels: kernels that run the network, `native` or `XLA`.
    """

    def __init__(
        self,
        config: ModelConfig,
        variables: Any,
        *,
        fused: bool = True,
        constant: bool = True,
        native: bool = True,
        dtype: DTypeLike = jnp.float32,
        calibration: Calibration | None = None,
    ):
        """Binds variables to the network.

        Args:
            config: sizes of the network.
            variables: `params`, and `batch_stats` in the training form.
            fused: whether the variables are of the fused form.
            constant: compile the weights as constants, whose layouts XLA optimises: faster.
                Otherwise models of one configuration share compiled functions, for weights that
                change often.
            native: use the native kernels (`asymtrack_jax.native`) if they are built and not
                disabled, and the model is fused, constant and float32. They run on the CPU only.
            dtype: dtype that the network computes in: float32, or bfloat16 for accelerators. Norm
                statistics, attention softmax, and everything after the score maps (boxes and
                scores) are float32 in any case.
            calibration: calibration of the scores; None leaves them uncalibrated.

        Raises:
            InputError: `dtype` is not float32 or bfloat16.
        """
        self.config, self.fused, self.calibration = config, fused, calibration
        self.dtype = jnp.dtype(dtype)
        if self.dtype.name not in DTYPES:
            raise InputError(f"dtype must be one of {', '.join(DTYPES)}; got {self.dtype}")
        single = self.dtype == jnp.float32
        if native and fused and constant and single and library.available():
            self.kernels, form, constant = "native", "native", False
            self.variables = variables
            weights = jax.device_put(pack(config, variables))
        else:
            self.kernels, form = "XLA", "fused" if fused else "training"
            params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), variables["params"])
            weights = self.variables = jax.device_put({**variables, "params": params})
        functions = _functions(config, form, constant, self.dtype, calibration)
        functions = [functools.partial(function, weights) for function in functions]
        self._init_template, self._step = map(Jitted, functions) if constant else functions

    def __repr__(self) -> str:
        c = self.config
        count = sum(leaf.size for leaf in jax.tree.leaves(self.variables["params"])) / 1e6
        form = "fused" if self.fused else "training form"
        scores = "calibrated" if self.calibration else "not calibrated"
        return (
            f"Model({variant_name(c)}, template {c.template_size}, search {c.search_size}, "
            f"{count:.2f} M parameters, {form}, {self.dtype}, {self.kernels} kernels on "
            f"{jax.default_backend()}, scores {scores})"
        )

    def warmup(self, batch_size: int = 1) -> None:
        """Compiles both methods for uint8 images, so that the first call is fast.

        Args:
            batch_size: images per call; for a `Tracker`, its targets rounded up to a power of two.
        """
        sides = self.config.template_size, self.config.search_size
        template, search = (np.zeros((batch_size, side, side, 3), np.uint8) for side in sides)
        jax.block_until_ready(self.step(self.init_template(template), search))

    def init_template(self, template: Image) -> Modulation:
        """Encodes templates, [B, template_size, template_size, 3], once per target.

        Raises:
            InputError: the shape or dtype of the images is wrong.
        """
        _check("template", template, self.config.template_size)
        return self._init_template(template)

    def step(self, modulation: Modulation, search: Image) -> Prediction:
        """Predicts the targets' boxes in search crops, [B, search_size, search_size, 3].

        Raises:
            InputError: the shape or dtype of the images is wrong, or their batch size differs from
                the modulation's.
        """
        _check("search", search, self.config.search_size)
        if search.shape[0] != modulation.keys.shape[0]:
            raise InputError(
                f"search has batch size {search.shape[0]} and the modulation was made of "
                f"{modulation.keys.shape[0]} templates; they must be the same"
            )
        return self._step(modulation, search)


@functools.cache
def _functions(
    config: ModelConfig,
    form: str,
    constant: bool,
    dtype: np.dtype,
    calibration: Calibration | None,
) -> tuple[Callable, Callable]:
    """Returns `init_template` and `step` with weights as first argument; jitted if not constant."""
    if form == "native":
        network = NativeNetwork(config)
        functions: Any = network.init_template, network.step
    else:
        apply = AsymTrack(config, fused=form == "fused").apply
        functions = (
            functools.partial(apply, method="init_template"),
            _in_chunks(functools.partial(apply, method="step")),
        )
    of_template, of_search = functions

    def init_template(weights: Any, template: Array) -> Modulation:
        return of_template(weights, _as_input(template, dtype))

    def step(weights: Any, modulation: Modulation, search: Array) -> Prediction:
        prediction = of_search(weights, modulation, _as_input(search, dtype))
        if calibration is None:
            return prediction
        return prediction.replace(scores=calibration(prediction.scores))

    return (init_template, step) if constant else (Jitted(init_template), Jitted(step))


def _in_chunks(step: Callable) -> Callable:
    """Returns `step`, which on a CPU takes a batch in chunks of at most `CHUNK_PIXELS`.

    A batch of unknown size, as in an export, is taken whole.
    """

    def in_chunks(weights: Any, modulation: Modulation, search: Array) -> Prediction:
        batch, side = search.shape[:2]
        if jax.default_backend() != "cpu" or not isinstance(batch, int):
            return step(weights, modulation, search)
        most = max(1, CHUNK_PIXELS // side**2)
        size = max(n for n in range(1, most + 1) if batch % n == 0)
        if size == batch:
            return step(weights, modulation, search)

        def chunk(start: Array) -> tuple[Array, Array]:
            cut = functools.partial(
                jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=size
            )
            found = step(weights, *jax.tree.map(cut, (modulation, search)))
            return found.boxes, found.scores

        boxes, scores = jax.lax.map(chunk, jnp.arange(0, batch, size))
        return Prediction(boxes.reshape(batch, 4), scores.reshape(batch))

    return in_chunks


def load(
    directory: str | os.PathLike[str] = TINY,
    *,
    fused: bool = True,
    dtype: DTypeLike = jnp.float32,
) -> Model:
    """Loads a checkpoint that training or `asymtrack convert` wrote; by default the packaged one.

    It also enables JAX's compilation cache, unless the environment has `ASYMTRACK_CACHE=0`; see
    `compilation.enable_compilation_cache`.

    Args:
        directory: directory of the checkpoint.
        fused: convert to the fused form (norms and scales folded into other weights): faster, and
            equal up to rounding.
        dtype: dtype that the network computes in, float32 or bfloat16 (see `Model`).

    Raises:
        InputError: there is no checkpoint, it is damaged, or `dtype` is not supported.
    """
    enable_compilation_cache()
    loaded = checkpoint.read(directory)
    variables = fuse(loaded.variables) if fused else loaded.variables
    calibration = read_calibration(loaded.metadata)
    return Model(loaded.config, variables, fused=fused, dtype=dtype, calibration=calibration)


def _as_input(image: Array, dtype: np.dtype) -> Array:
    return (normalise(image) if image.dtype == jnp.uint8 else image).astype(dtype)


def _check(name: str, image: Any, size: int) -> None:
    shape, dtype = getattr(image, "shape", None), str(getattr(image, "dtype", type(image).__name__))
    fits = shape is not None and len(shape) == 4 and shape[0] > 0 and shape[1:] == (size, size, 3)
    if not fits or dtype not in ("float32", "uint8"):
        raise InputError(
            f"{name} must be [B, {size}, {size}, 3], float32 (normalised) or uint8 (pixels); "
            f"got shape {shape}, {dtype}"
        )
