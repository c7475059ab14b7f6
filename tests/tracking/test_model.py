import jax
import numpy as np
import pytest

import asymtrack_jax
from asymtrack_jax.config import VARIANTS
from asymtrack_jax.errors import InputError
from asymtrack_jax.images import normalise
from asymtrack_jax.models import checkpoint

CONFIG = VARIANTS["testing"]
Z, X = CONFIG.template_size, CONFIG.search_size


def pixels(side: int, batch: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (batch, side, side, 3), np.uint8)


def test_pixels_and_normalised_images_give_the_same(model):
    from_pixels = model.step(model.init_template(pixels(Z)), pixels(X))
    modulation = model.init_template(normalise(pixels(Z)))
    np.testing.assert_allclose(
        model.step(modulation, normalise(pixels(X))).boxes, from_pixels.boxes, atol=1e-5
    )


def test_methods_can_be_part_of_a_larger_program(model):
    template, search = pixels(Z), pixels(X)
    boxes = jax.jit(lambda *images: model.step(model.init_template(images[0]), images[1]).boxes)
    expected = model.step(model.init_template(template), search).boxes
    np.testing.assert_allclose(boxes(template, search), expected, atol=1e-5)


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
    prediction, expected = (m.step(m.init_template(pixels(Z)), pixels(X)) for m in (loaded, model))
    np.testing.assert_allclose(prediction.boxes, expected.boxes, atol=1e-5)


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


def test_batch_sizes_must_agree(model):
    modulation = model.init_template(pixels(Z, batch=2))
    with pytest.raises(InputError, match="batch size 1"):
        model.step(modulation, pixels(X))
