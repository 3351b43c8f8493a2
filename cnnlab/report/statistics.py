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


def percent(figure: dict[str, Any], digits: int = 2) -> str:
    """A figure of ``over_seeds`` between 0 and 1 as text: ``98.72 ± 0.11 % (5 seeds)``."""
    text = f"{100 * figure['mean']:.{digits}f}"
    if figure["standard_error"] is None:
        return f"{text} %"
    return f"{text} ± {100 * figure['standard_error']:.{digits}f} % ({len(figure['values'])} seeds)"
