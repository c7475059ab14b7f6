import jax
import numpy as np

from asymtrack_jax.images import IMAGENET_MEAN, IMAGENET_STD, normalise

PIXELS = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


def test_numpy_and_compiled_programs_give_the_same_bits():
    expected = normalise(PIXELS)
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(jax.jit(normalise)(PIXELS), expected)
    # As part of a larger program, where a compiler would join it with what follows.
    scaled = jax.jit(lambda pixels: 3 * normalise(pixels) + 1)(PIXELS)
    np.testing.assert_allclose(scaled, 3 * expected + 1, rtol=2e-7, atol=2e-7)
    constant = jax.jit(lambda: normalise(jax.numpy.asarray(PIXELS)))()
    np.testing.assert_array_equal(constant, expected)


def test_it_is_the_published_normalisation():
    exact = (PIXELS / 255 - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    np.testing.assert_allclose(normalise(PIXELS), exact, atol=5e-7)
