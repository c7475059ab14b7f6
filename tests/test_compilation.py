from pathlib import Path

import jax
import pytest

from asymtrack_jax import compilation
from asymtrack_jax.compilation import Jitted, keep_compiled

NAME = "jax_compilation_cache_dir"


@pytest.fixture(autouse=True)
def restore():
    before = jax.config.values[NAME]
    yield
    jax.config.update(NAME, before)


@pytest.mark.parametrize("configured", [None, "elsewhere"])
def test_a_folder_that_is_set_goes_first(configured: str | None, tmp_path: Path):
    jax.config.update(NAME, configured)
    keep_compiled(tmp_path)
    assert jax.config.values[NAME] == (configured or str(tmp_path))


def test_options_that_this_xla_does_not_know_are_left_out(monkeypatch):
    compile_with = jax.jit

    def jit(function, compiler_options=None):
        options = {"xla_no_such_option": ""} if compiler_options else None
        return compile_with(function, compiler_options=options)

    compilation.fast_options.cache_clear()
    monkeypatch.setattr(jax, "jit", jit)
    try:
        assert compilation.fast_options() == {}
        assert Jitted(lambda x: x + 1)(1) == 2
    finally:
        compilation.fast_options.cache_clear()
