"""Figures over seeds: never a number without its uncertainty."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike


def over_seeds(values: ArrayLike) -> dict[str, Any]:
    """The mean of one figure over seeds and its standard error.

    Args:
      values: ``[M]``, one for each seed.

    Returns:
      ``mean``; ``standard_error``, the sample standard deviation (M - 1) over the root of M, None
      for one seed; ``values``, the list of them.

    Raises:
      ValueError: if there is no value, or more than one axis.
    """
    numbers = np.asarray(values, np.float64)
    if numbers.ndim != 1 or not numbers.size:
        raise ValueError(f"values must be [M], one for each seed, got shape {numbers.shape}.")
    error = None
    if numbers.size > 1:
        error = float(numbers.std(ddof=1) / np.sqrt(numbers.size))
    return {"mean": float(numbers.mean()), "standard_error": error, "values": numbers.tolist()}


def paired(ours: ArrayLike, theirs: ArrayLike, confidence: float = 0.95) -> dict[str, Any]:
    """How much larger one figure is than another that was taken with the same seeds.

    Args:
      ours: ``[M]``, one for each seed.
      theirs: ``[M]``, of the same seeds in the same order.
      confidence: of the interval, in (0, 1).

    Returns:
      What ``over_seeds`` gives for ``ours - theirs``, ``confidence``, and ``interval``: the ends of
      Student's t interval of the mean difference with M - 1 degrees of freedom, None for one seed.

    Raises:
      ValueError: if there is no value, they are not as many, or the confidence is out of range.
    """
    from scipy import stats

    left, right = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if left.shape != right.shape:
        raise ValueError(f"both must be of the same seeds, got shapes {left.shape}, {right.shape}.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}.")
    figure = over_seeds(left - right)
    interval = None
    if figure["standard_error"] is not None:
        reach = stats.t.ppf((1 + confidence) / 2, left.size - 1) * figure["standard_error"]
        interval = [figure["mean"] - reach, figure["mean"] + reach]
    return {**figure, "confidence": confidence, "interval": interval}


def percent(figure: dict[str, Any], digits: int = 2) -> str:
    """A figure of ``over_seeds`` between 0 and 1 as text: ``98.72 ± 0.11 % (5 seeds)``."""
    text = f"{100 * figure['mean']:.{digits}f}"
    if figure["standard_error"] is None:
        return f"{text} %"
    return f"{text} ± {100 * figure['standard_error']:.{digits}f} % ({len(figure['values'])} seeds)"
