import dataclasses
import functools

import jax
import numpy as np
import pytest

import asymtrack_jax
from asymtrack_jax.config import VARIANTS
from asymtrack_jax.errors import InputError
from asymtrack_jax.images import normalise
from asymtrack_jax.models import checkpoint
from asymtrack_jax.models.asymtrack import AsymTrack
from asymtrack_jax.models.fuse import fuse
from asymtrack_jax.models.head import Prediction
from asymtrack_jax.tracking import model as module
from asymtrack_jax.tracking.model import Model
from tests import rounding

CONFIG = VARIANTS["testing"]
Z, X = CONFIG.template_size, CONFIG.search_size


def pixels(side: int, batch: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (batch, side, side, 3), np.uint8)


def same_boxes(found: Prediction, expected: Prediction) -> None:
    """Of two float32 programs."""
    np.testing.assert_allclose(found.boxes, expected.boxes, rtol=0, atol=rounding.BETWEEN_TWO)


def test_pixels_and_normalised_images_give_the_same(model):
    from_pixels = model.step(model.init_template(pixels(Z)), pixels(X))
    modulation = model.init_template(normalise(pixels(Z)))
    same_boxes(model.step(modulation, normalise(pixels(X))), from_pixels)


def test_methods_can_be_part_of_a_larger_program(model):
    template, search = pixels(Z), pixels(X)
    found = jax.jit(lambda *images: model.step(model.init_template(images[0]), images[1]))
    same_boxes(found(template, search), model.step(model.init_template(template), search))


def test_the_template_decides(model):
    first, second = (
        model.step(model.init_template(pixels(Z, seed=seed)), pixels(X)) for seed in (1, 2)
    )
    assert np.abs(first.boxes - second.boxes).max() > 1e-3


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "training form"])
def test_load_gives_the_saved_network(tmp_path, variables, model, fused):
    checkpoint.save(tmp_path / "saved", CONFIG, variables, {})
    loaded = asymtrack_jax.load(tmp_path / "saved", fused=fused)
    assert loaded.config == CONFIG
    same_boxes(*(m.step(m.init_template(pixels(Z)), pixels(X)) for m in (loaded, model)))


@pytest.mark.parametrize(
    "image",
    [
        pixels(Z + 1),
        pixels(Z)[0],
        pixels(Z)[..., :1],
        pixels(Z)[:0],
        pixels(Z).astype(np.float64),
        pixels(Z).tolist(),
        None,
    ],
    ids=["size", "no batch", "grey", "empty batch", "float64", "list", "none"],
)
def test_other_images_are_refused(model, image):
    with pytest.raises(InputError, match=rf"template must be \[B, {Z}, {Z}, 3\]"):
        model.init_template(image)


def test_a_cpu_takes_a_batch_in_chunks(model, variables, monkeypatch):
    templates, searches = (
        np.concatenate([pixels(side, seed=seed) for seed in range(4)]) for side in (Z, X)
    )
    modulation = model.init_template(templates)
    whole = model.step(modulation, searches)
    monkeypatch.setattr(module, "CHUNK_PIXELS", 3 * X**2)
    module._functions.cache_clear()
    chunked = Model(CONFIG, fuse(variables), native=False)
    same_boxes(chunked.step(modulation, searches), whole)
    program = str(jax.jit(chunked.step).trace(modulation, searches).jaxpr)
    assert "scan[" in program
    assert "length=2\n" in program  # chunks of two, which divide the batch, though three would fit
    module._functions.cache_clear()


def test_batch_sizes_must_agree(model):
    modulation = model.init_template(pixels(Z, batch=2))
    with pytest.raises(InputError, match="batch size 1"):
        model.step(modulation, pixels(X))


def test_weights_are_constants_of_the_program(model):
    """Its only argument is the image: were weights arguments, XLA could not lay them out once.

    It fails where jax hoists constants (`jax_use_simplified_jaxpr_constants`).
    """
    memory = model._init_template.lower(pixels(Z)).compile().memory_analysis()
    assert memory.argument_size_in_bytes == pixels(Z).nbytes


def test_bfloat16_is_close_and_its_boxes_are_float32(tmp_path, variables, model):
    checkpoint.save(tmp_path / "saved", CONFIG, variables, {})
    half = asymtrack_jax.load(tmp_path / "saved", dtype="bfloat16")
    modulation = half.init_template(pixels(Z))
    assert {leaf.dtype for leaf in jax.tree.leaves(modulation)} == {half.dtype}
    found = half.step(modulation, pixels(X))
    expected = model.step(model.init_template(pixels(Z)), pixels(X))
    assert found.boxes.dtype == found.scores.dtype == np.float32
    distance = np.abs(found.boxes - expected.boxes).max()
    assert rounding.BETWEEN_TWO < distance < 0.1


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8"])
def test_other_dtypes_are_refused(variables, dtype):
    with pytest.raises(InputError, match=f"must be one of float32, bfloat16; got {dtype}"):
        Model(CONFIG, fuse(variables), dtype=dtype)


def test_variables_are_those_of_the_module(model, variables):
    network = AsymTrack(model.config, model.fused)
    jax.tree.map(np.testing.assert_array_equal, model.variables, fuse(variables))
    template = normalise(pixels(Z))
    apart = jax.jit(functools.partial(network.apply, method="init_template"))
    found, expected = apart(model.variables, template), model.init_template(template)
    np.testing.assert_allclose(found.keys, expected.keys, rtol=1e-4, atol=1e-4)


def test_warmup_compiles_what_a_tracker_calls(model, monkeypatch):
    fresh = Model(CONFIG, model.variables)
    fresh.warmup(2)
    calls = []
    monkeypatch.setattr(AsymTrack, "__call__", calls.append)
    for name in ("init_template", "score_maps"):
        monkeypatch.setattr(AsymTrack, name, lambda *_, name=name: calls.append(name))
    modulation = fresh.init_template(pixels(Z, batch=2))
    assert fresh.step(modulation, pixels(X, batch=2)).boxes.shape == (2, 4)
    assert not calls  # nothing is traced again


def test_a_model_says_what_it_is(model):
    assert repr(model) == (
        "Model(testing, template 64, search 128, 0.10 M parameters, fused, float32, XLA kernels on "
        "cpu, scores not calibrated)"
    )
    other = Model(dataclasses.replace(CONFIG, template_size=32), model.variables)
    assert repr(other).startswith("Model(custom, template 32, ")
