"""The native kernels against the published network and against XLA's form of ours."""

import dataclasses
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from asymtrack_jax import Tracker
from asymtrack_jax.benchmark.network import random_variables
from asymtrack_jax.cli.native import main, suggest_native_kernels
from asymtrack_jax.config import VARIANTS, ModelConfig
from asymtrack_jax.errors import InputError
from asymtrack_jax.models.fuse import fuse
from asymtrack_jax.native import library
from asymtrack_jax.native.network import NativeNetwork
from asymtrack_jax.native.weights import pack
from asymtrack_jax.tracking.calibration import Calibration
from asymtrack_jax.tracking.model import Model
from tests import published, rounding
from tests.models.test_parity import distance

needs_compiler = pytest.mark.skipif(
    "CXX" not in os.environ and not any(map(shutil.which, library.COMPILERS)),
    reason="no C++ compiler to build the native kernels with",
)
ODD = ModelConfig(  # no size twice, none a multiple of what the kernels work on at once
    search_size=160,
    template_size=96,
    widths=(8, 24, 40),
    depths=(1, 3, 2),
    num_kernels=(3, 5),
    num_heads=3,
    head_dim=4,
    feature_dim=48,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the library was built, once; for tests that use it or only look at it."""
    folder = tmp_path_factory.mktemp("native")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "CACHE", folder)
        main([])
    return folder


@pytest.fixture
def built(folder, monkeypatch):
    monkeypatch.setattr(library, "CACHE", folder)
    monkeypatch.delenv("ASYMTRACK_NATIVE")


@pytest.mark.usefixtures("built")
@needs_compiler
class TestBuilt:
    @pytest.mark.parametrize("variant", ["tiny", "small", "base"])
    def test_parity_with_the_published_network(self, variant):
        """By the bars of tests/models/test_parity.py."""
        config, golden = VARIANTS[variant], published.golden(variant)
        exact = published.golden("float64")  # the published network's boxes in float64
        network, weights = NativeNetwork(config), pack(config, fuse(published.variables(variant)))
        template, search, search2 = (
            published.image(f"input.{name}", side)
            for name, side in (
                ("template", config.template_size),
                ("search", config.search_size),
                ("search2", config.search_size),
            )
        )
        modulation = jax.jit(network.init_template)(weights, template)
        for i, kernels in enumerate((modulation.stage2, modulation.stage3), start=1):
            ours = np.concatenate([kernels.depthwise, kernels.pointwise], axis=-1)
            assert distance(ours, golden[f"etm{i}_dynamic"]) < 1e-4
        maps = jax.jit(network.score_maps)(weights, modulation, search)
        assert distance(maps[:, 0], golden["score_tl"]) < 1e-4
        assert distance(maps[:, 1], golden["score_br"]) < 1e-4
        boxes = jax.jit(network.step)(weights, modulation, search).boxes
        atol = rounding.OF_PUBLISHED
        np.testing.assert_allclose(boxes, exact[f"{variant}.boxes_cxcywh"], rtol=0, atol=atol)
        first = jax.tree.map(lambda leaf: leaf[:1], modulation)
        boxes = jax.jit(network.step)(weights, first, search2[:1]).boxes
        np.testing.assert_allclose(boxes, exact[f"{variant}.boxes2_cxcywh"][:1], rtol=0, atol=atol)

    def test_any_size_and_batch_as_by_xla(self):
        variables = fuse(random_variables(ODD))
        calibration = Calibration(0.5, -1.0)  # is applied to the scores of both
        native, plain = (
            Model(ODD, variables, native=chosen, calibration=calibration)
            for chosen in (True, False)
        )
        assert (native.kernels, plain.kernels) == ("native", "XLA")
        template, search = (
            np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
            for side in (ODD.template_size, ODD.search_size)
        )
        modulation, expected = (model.init_template(template) for model in (native, plain))
        for ours, theirs in zip(*map(jax.tree.leaves, (modulation, expected)), strict=True):
            assert distance(ours, theirs) < 1e-4
        prediction, expected = (model.step(modulation, search) for model in (native, plain))
        atol = rounding.BETWEEN_TWO
        np.testing.assert_allclose(prediction.boxes, expected.boxes, rtol=0, atol=atol)
        np.testing.assert_allclose(prediction.scores, expected.scores, rtol=0, atol=atol)
        again = jax.jit(native.step)(modulation, search)
        np.testing.assert_array_equal(prediction.boxes, again.boxes)

    def test_what_is_not_finite_is_told(self, variables):
        broken = jax.tree.map(np.copy, fuse(variables))
        broken["params"]["backbone"]["patch_embed"]["conv"]["kernel"][0, 0, 0, 0] = np.nan
        tracker = Tracker(Model(VARIANTS["testing"], broken))
        frame = np.full((120, 160, 3), 100, np.uint8)
        tracker.init(frame, [60, 40, 30, 30])
        with pytest.raises(FloatingPointError, match="are its weights sound"):
            tracker.update(frame)

    def test_weights_of_another_network_are_refused(self, variables):
        other = dataclasses.replace(VARIANTS["testing"], num_heads=4)
        template = np.zeros((1, other.template_size, other.template_size, 3), np.float32)
        weights = pack(VARIANTS["testing"], fuse(variables))
        with pytest.raises(Exception, match="weights are those of another network"):
            jax.block_until_ready(jax.jit(NativeNetwork(other).init_template)(weights, template))

    def test_used_only_where_it_can_be(self, variables, monkeypatch):
        config, fused = VARIANTS["testing"], fuse(variables)
        assert Model(config, fused).kernels == "native"
        assert Model(config, fused, constant=False).kernels == "XLA"
        assert Model(config, variables, fused=False).kernels == "XLA"
        monkeypatch.setenv("ASYMTRACK_NATIVE", "0")
        assert Model(config, fused).kernels == "XLA"


@pytest.mark.parametrize("cache", ["empty", "~no-such-user"])
def test_nothing_is_used_that_was_not_built(cache, variables, tmp_path, monkeypatch):
    monkeypatch.setattr(library, "CACHE", tmp_path if cache == "empty" else Path(cache))
    monkeypatch.delenv("ASYMTRACK_NATIVE")
    assert Model(VARIANTS["testing"], fuse(variables)).kernels == "XLA"


@pytest.mark.parametrize(
    ("compiler", "message"),
    [
        (None, "no C\\+\\+ compiler found"),
        ("no_such_compiler", "CXX=no_such_compiler: there is no such"),
        ("sh -c 'exit 3'", "failed; it must support C\\+\\+17"),
    ],
)
def test_what_cannot_be_built_is_told(compiler, message, tmp_path, monkeypatch):
    monkeypatch.setattr(library, "CACHE", tmp_path)
    if compiler:
        monkeypatch.setenv("CXX", compiler)
    else:
        monkeypatch.delenv("CXX", raising=False)
        monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=message):
        main([])
    assert not list(tmp_path.iterdir())


class TestSuggestion:
    """The one line of the commands where the kernels could be built and are not."""

    @pytest.fixture(autouse=True)
    def buildable(self, tmp_path, monkeypatch):
        monkeypatch.setattr(library, "CACHE", tmp_path)
        monkeypatch.setenv("CXX", "c++")
        monkeypatch.delenv("ASYMTRACK_NATIVE")
        suggest_native_kernels.cache_clear()

    def test_is_printed_once(self, capsys):
        suggest_native_kernels()
        suggest_native_kernels()
        assert capsys.readouterr().err.count("asymtrack native") == 1

    def test_not_without_a_compiler(self, capsys, monkeypatch):
        monkeypatch.delenv("CXX")
        monkeypatch.setattr(shutil, "which", lambda name: None)
        suggest_native_kernels()
        assert not capsys.readouterr().err

    def test_not_if_built_or_switched_off(self, capsys, monkeypatch):
        monkeypatch.setenv("ASYMTRACK_NATIVE", "0")
        suggest_native_kernels()
        monkeypatch.delenv("ASYMTRACK_NATIVE")
        library.path().touch()
        suggest_native_kernels.cache_clear()
        suggest_native_kernels()
        assert not capsys.readouterr().err
