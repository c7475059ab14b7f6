"""Pixels as the network takes them."""

from typing import Any

import numpy as np

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_MEAN = np.array([255 * mean for mean in IMAGENET_MEAN], np.float32)
_INVERSE_STD = np.array([1 / (255 * std) for std in IMAGENET_STD], np.float32)


def normalise(pixels: Any) -> Any:
    """Normalises RGB pixels with ImageNet's mean and standard deviation: `(pixel - mean) / std`.

    The result has the same bits in numpy and in every compiled program. Hence a product: XLA turns
    a division by a constant into a product with its reciprocal, numpy does not. And hence the
    difference first: a compiler may fuse a product and a sum behind it into one operation that
    rounds once.

    Args:
        pixels: [..., 3], 0 to 255, a numpy or jax array of any real dtype.

    Returns:
        [..., 3], float32, the same kind of array.
    """
    xp = pixels.__array_namespace__()
    return (pixels.astype(xp.float32) - xp.asarray(_MEAN)) * xp.asarray(_INVERSE_STD)
