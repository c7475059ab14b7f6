"""How XLA compiles: what it made once is kept, how exactly it computes, and options for CPUs."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax.core import Tracer

CACHE = Path("~/.cache/asymtrack_jax/compiled")


def keep_compiled(directory: Path = CACHE) -> None:
    """Keeps compiled programs on disk, for the next process that asks for the same ones.

    A folder set by `JAX_COMPILATION_CACHE_DIR` goes first; `JAX_ENABLE_COMPILATION_CACHE=false`
    keeps none.
    """
    if not jax.config.values["jax_compilation_cache_dir"]:
        jax.config.update("jax_compilation_cache_dir", str(directory.expanduser()))


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
        """What the function returns."""
        traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(arguments))
        return (self._nested if traced else self._jitted)(*arguments)


@functools.cache
def fast_options() -> dict[str, Any]:
    """XLA's options for `Jitted`; none where this version of it does not know them."""
    if jax.default_backend() != "cpu":
        return {}
    options = {"xla_cpu_experimental_ynn_fusion_type": ""}  # see docs/performance.md
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):
            raise
        return {}
    return options
