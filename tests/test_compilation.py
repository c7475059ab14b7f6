from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

import asymtrack_jax
from asymtrack_jax import compilation
from asymtrack_jax.compilation import Jitted, enable_compilation_cache
from asymtrack_jax.config import VARIANTS
from asymtrack_jax.models import checkpoint

NAME = "jax_compilation_cache_dir"
LEAST = "jax_persistent_cache_min_compile_time_secs"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch) -> Iterator[Path]:
    """A cache directory of this test; what the environment says about caches is not seen."""
    monkeypatch.setattr(compilation, "CACHE", tmp_path)
    monkeypatch.delenv("ASYMTRACK_CACHE")
    monkeypatch.delenv(LEAST.upper(), raising=False)
    before = {name: jax.config.values[name] for name in (NAME, LEAST)}
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.parametrize(
    ("switch", "configured", "expected"),
    [
        (None, None, "ours"),
        (None, "theirs", "theirs"),
        ("0", None, None),
        ("0", "theirs", "theirs"),
    ],
)
def test_a_directory_of_the_user_and_the_switch_come_first(
    switch, configured, expected, monkeypatch
):
    if switch:
        monkeypatch.setenv("ASYMTRACK_CACHE", switch)
    jax.config.update(NAME, configured)
    enable_compilation_cache()
    ours = str(compilation.cache_directory())
    assert jax.config.values[NAME] == (ours if expected == "ours" else expected)


def test_a_directory_that_cannot_be_made_is_left_out(cache):
    (cache / "file").touch()
    jax.config.update(NAME, None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compilation, "CACHE", cache / "file")
        enable_compilation_cache()
    assert jax.config.values[NAME] is None


def test_without_a_home_directory_nothing_is_kept(monkeypatch):
    jax.config.update(NAME, None)
    monkeypatch.setattr(compilation, "CACHE", Path("~no-such-user/cache"))
    enable_compilation_cache()
    assert jax.config.values[NAME] is None


def test_the_directory_is_of_this_processor_and_these_versions(cache, monkeypatch):
    directory = compilation.cache_directory()
    assert directory.parent == cache
    assert f"jax-{jax.__version__}-" in directory.name
    monkeypatch.setattr(compilation, "processor", lambda: "model name: another")
    assert compilation.cache_directory() != directory


def test_load_keeps_what_it_compiles(cache, tmp_path, variables, monkeypatch):
    jax.config.update(NAME, None)
    monkeypatch.setattr(jax.config, "update", lambda *setting: settings.append(setting))
    settings = []
    checkpoint.save(tmp_path / "saved", VARIANTS["testing"], variables, {})
    asymtrack_jax.load(tmp_path / "saved")
    assert settings == [
        (NAME, str(compilation.cache_directory())),
        (LEAST, compilation.LEAST_SECONDS),
    ]


def test_the_least_seconds_of_the_user_come_first(monkeypatch):
    monkeypatch.setenv(LEAST.upper(), "3")
    jax.config.update(NAME, None)
    jax.config.update(LEAST, 3.0)
    enable_compilation_cache()
    assert jax.config.values[LEAST] == 3.0


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
