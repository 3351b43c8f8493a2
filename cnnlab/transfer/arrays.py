"""Features as arrays that can be computed with: checked, and in float32 or more."""

import numpy as np
from numpy.typing import ArrayLike

LARGEST = 1e150
"""Of larger numbers float64 does not hold the squares."""


def check_features(values: ArrayLike, what: str = "features") -> np.ndarray:
    """``values`` ``[N, D]``; narrower numbers than float32, as float16 and bfloat16, in float32.

    Sums of squares of float16 overflow at 65,504, and integers wrap round.

    Args:
      values: numbers ``[N, D]``; integers of more than 16 bits become float64.
      what: in the message.

    Raises:
      ValueError: for another shape, numbers that are not real, NaN, infinity or beyond ``LARGEST``.
    """
    array = np.asarray(values)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(
            f"{what} must be [N, D], got shape {array.shape}. Of images, compute them with "
            "pool='mean', or reshape them: features.reshape(len(features), -1)."
        )
    if array.dtype.kind not in "fiubV":  # V: bfloat16
        raise ValueError(f"{what} must be real numbers, got {array.dtype}.")
    array = array.astype(np.promote_types(array.dtype, np.float32), copy=False)
    if not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite, got NaN or infinity. Did a network diverge?")
    largest = max(float(array.max()), -float(array.min()))
    if largest > LARGEST:
        raise ValueError(
            f"{what} must be at most {LARGEST:g}, since their squares are needed, got "
            f"{largest:.3g}. Divide them by a constant."
        )
    return array
