"""What XLA compiled once need not be compiled again."""

from pathlib import Path

import jax

CACHE = Path("~/.cache/asymtrack_jax/compiled")


def keep_compiled(directory: Path = CACHE) -> None:
    """Keeps compiled programs on disk, for the next process that asks for the same ones.

    A folder set by `JAX_COMPILATION_CACHE_DIR` goes first; `JAX_ENABLE_COMPILATION_CACHE=false`
    keeps none.
    """
    if not jax.config.values["jax_compilation_cache_dir"]:
        jax.config.update("jax_compilation_cache_dir", str(directory.expanduser()))
