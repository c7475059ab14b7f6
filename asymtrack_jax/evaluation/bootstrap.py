"""Confidence interval of the difference of two trackers: a paired bootstrap over sequences."""

import numpy as np
from jaxtyping import Float

RESAMPLES = 10_000
METHOD = f"paired bootstrap over sequences, percentile, {RESAMPLES:,} resamples, seed 0"


def difference_interval(
    first: Float[np.ndarray, " sequences"],
    second: Float[np.ndarray, " sequences"],
    weights: Float[np.ndarray, " sequences"],
) -> tuple[float, float] | None:
    """Computes the 95 % interval of the difference of two weighted means, first less second.

    Sequences are drawn with replacement, the same for both trackers, and the interval reaches from
    the 2.5th to the 97.5th percentile of the differences (Efron and Tibshirani, An Introduction to
    the Bootstrap, 1993, section 13.3).

    Args:
        first: a tracker's score on each sequence.
        second: the other tracker's.
        weights: weight of each sequence; those of weight 0 are left out.

    Returns:
        Its lower and upper end; None for fewer than two sequences.
    """
    counted = weights > 0
    number = int(counted.sum())
    if number < 2:
        return None
    drawn = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), RESAMPLES)
    drawn = drawn * weights[counted]
    differences = drawn @ (first - second)[counted] / drawn.sum(axis=1)
    low, high = (np.percentile(differences, [2.5, 97.5]) + 0.0).tolist()  # no -0
    return low, high
