from pathlib import Path

import jax
import pytest

from asymtrack_jax.compilation import keep_compiled

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
