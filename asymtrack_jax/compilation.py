"""How XLA compiles: the cache of compiled programs, matrix precision, and options for CPUs."""

import contextlib
import functools
import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jaxlib.version
from jax.core import Tracer

from asymtrack_jax.files import expand_home

CACHE = Path("~/.cache/asymtrack_jax/compiled")
LEAST_SECONDS = 0.2  # of compilation; JAX's own, 1.0, leaves init_template out on a fast machine


def enable_compilation_cache() -> None:
    """Keeps compiled programs on disk, for later processes that compile the same ones.

    The directory is in `CACHE`, one per processor and version of jax and jaxlib, since JAX's own
    key does not tell processors apart. Nothing is changed if the user has set a directory for JAX
    (`JAX_COMPILATION_CACHE_DIR`, or `jax.config`), with `ASYMTRACK_CACHE=0` in the environment, or
    where the directory cannot be made. `JAX_ENABLE_COMPILATION_CACHE=false` switches every cache
    off. Programs that compile in less than `LEAST_SECONDS` are not kept
    (`JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS`).
    """
    if os.environ.get("ASYMTRACK_CACHE") == "0" or jax.config.values["jax_compilation_cache_dir"]:
        return
    with contextlib.suppress(OSError):  # else JAX would warn at each compilation
        directory = cache_directory()
        directory.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(directory))
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
            jax.config.update("jax_persistent_cache_min_compile_time_secs", LEAST_SECONDS)


def cache_directory() -> Path:
    """Returns the directory in `CACHE` for this processor and these versions of jax and jaxlib.

    Raises:
        FileNotFoundError: the user has no home directory.
    """
    key = hashlib.sha256(processor().encode()).hexdigest()[:12]
    versions = f"jax-{jax.__version__}-jaxlib-{jaxlib.version.__version__}"
    return expand_home(CACHE) / f"{versions}-{key}"


def processor() -> str:
    """Describes this machine's processor so that those with other instructions differ."""
    names = ("model name", "flags", "CPU part", "Features")  # x86 and ARM
    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
    except OSError:
        first = ""
    lines = (line for line in first.splitlines() if line.startswith(names))
    return "\n".join([platform.machine(), *lines] if first else [platform.processor()])


def set_precision(name: str) -> str:
    """Chooses how exactly this process computes.

    Args:
        name: one of `config.PRECISIONS`. `highest`: float32 everywhere. `default`: the same, but in
            matrix products and convolutions what the platform takes for float32: TF32 on NVIDIA
            GPUs, bfloat16 on TPUs, float32 on CPUs. `bfloat16`: see `tracking.model.Model`.

    Returns:
        The dtype that a `tracking.model.Model` is to have.
    """
    if name == "highest":
        jax.config.update("jax_default_matmul_precision", "highest")
    return "bfloat16" if name == "bfloat16" else "float32"


class Jitted:
    """`jax.jit` of a function, with the options that run single images fastest on this platform.

    Inside another `jit`, which allows no options of its own, it is compiled with the others'.
    """

    def __init__(self, function: Callable):
        self._jitted = jax.jit(function, compiler_options=fast_options() or None)
        self._nested = jax.jit(function)
        self.lower = self._jitted.lower

    def __call__(self, *arguments: Any) -> Any:
        """Calls the function."""
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(arguments))
        return (self._nested if traced else self._jitted)(*arguments)


@functools.cache
def fast_options() -> dict[str, Any]:
    """XLA's options for `Jitted`; none where this version of it does not know them."""
    if jax.default_backend() != "cpu":
        return {}
    options = {  # see docs/performance.md
        "xla_cpu_experimental_ynn_fusion_type": "",
        "xla_cpu_prefer_vector_width": 512,  # where the processor has them; XLA prefers 256
    }
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return {}
    return options
