"""How far rounding alone may move a network's boxes, by float64, so that no processor decides it.

Every program in float32 rounds in an order of its own. Over this network that is as if each weight
were off by some roundings, which float64 can try out.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

ROUNDINGS = 16  # of a float32 weight, 2**-24 of it each; programs have been seen to need up to 11

# Boxes of the `testing` variant with conftest's variables, in sides of the search crop: how far any
# float32 program may be from float64, and two of them from each other. tests/models/test_fuse.py
# holds the first to `moved`.
FROM_EXACT = 5e-5
BETWEEN_TWO = 2 * FROM_EXACT

# Boxes of the published variants with golden weights: tests/models/test_parity.py holds it.
OF_PUBLISHED = 2.6e-5


def moved(boxes_of: Callable[[Any], Any], variables: Any) -> float:
    """The largest change of boxes in some trials with other weights.

    Args:
        boxes_of: a network's boxes in float64, by its variables.
        variables: arrays in float32 or float64; a trial's are float64.
    """
    draw, exact = np.random.default_rng(0).uniform, np.asarray(boxes_of(variables))
    size = ROUNDINGS * 2.0**-24
    trials = (
        jax.tree.map(lambda leaf: leaf * (1 + draw(-size, size, np.shape(leaf))), variables)
        for _ in range(4)
    )
    return max(float(np.abs(np.asarray(boxes_of(trial)) - exact).max()) for trial in trials)
