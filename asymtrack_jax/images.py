"""Normalisation of pixels for the network."""

from typing import Any

import numpy as np

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_MEAN = np.array([255 * mean for mean in IMAGENET_MEAN], np.float32)
_INVERSE_STD = np.array([1 / (255 * std) for std in IMAGENET_STD], np.float32)


def normalise(pixels: Any) -> Any:
    """Normalises RGB pixels with ImageNet's mean and standard deviation: `(pixel - mean) / std`.

    The result is bit-identical in numpy and in every compiled program. Therefore it multiplies by
    the reciprocal, as XLA does with a division by a constant, and subtracts first: a compiler may
    fuse a product and a following sum into one operation that rounds once.

    Args:
        pixels: [..., 3], 0 to 255, a numpy or jax array of any real dtype.

    Returns:
        [..., 3], float32, an array of the same library.
    """
    xp = pixels.__array_namespace__()
    return (pixels.astype(xp.float32) - xp.asarray(_MEAN)) * xp.asarray(_INVERSE_STD)
