"""How well two maps of pixels agree, class by class: intersection over union, and Dice.

All of it follows from counts, ``confusion(truth, predictions)``, which add up over parts of a data
set; so the figures are of all pixels together, not means over images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def confusion(truth: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """How many pixels of each class were taken for which.

    Args:
      truth: integers of any shape in ``[0, num_classes)``, such as masks ``[N, H, W]``.
      predictions: integers of the same shape in the same range.
      num_classes: K.

    Returns:
      int64 ``[K, K]``: rows are the truth, columns the predictions.

    Raises:
      ValueError: for other shapes, or a class that is out of range.
    """
    ours, theirs = np.asarray(truth), np.asarray(predictions)
    if ours.shape != theirs.shape or not ours.size:
        raise ValueError(
            "truth and predictions must be of the same pixels, at least one, got shapes "
            f"{ours.shape} and {theirs.shape}."
        )
    for name, each in (("truth", ours), ("predictions", theirs)):
        if each.dtype.kind not in "iu":
            raise ValueError(f"{name} must be integers, got {each.dtype}.")
        low, high = int(each.min()), int(each.max())
        if low < 0 or high >= num_classes:
            raise ValueError(
                f"{name} must be classes in 0..{num_classes - 1}, got "
                f"{low if low < 0 else high}. Masks of other classes were given?"
            )
    pairs = ours.astype(np.int64).ravel() * num_classes + theirs.ravel()
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def intersection_over_union(counts: ArrayLike) -> np.ndarray:
    """|A and B| / |A or B| of each class, the Jaccard index.

    Args:
      counts: ``[..., K, K]``, as ``confusion`` gives them.

    Returns:
      float64 ``[..., K]`` in [0, 1]; NaN for a class that is neither present nor predicted.
    """
    right, present, predicted = _sums(counts)
    return _ratio(right, present + predicted - right)


def dice(counts: ArrayLike) -> np.ndarray:
    """2 |A and B| / (|A| + |B|) of each class, the F1 score; NaN as for the Jaccard index.

    Args:
      counts: ``[..., K, K]``, as ``confusion`` gives them.

    Returns:
      float64 ``[..., K]`` in [0, 1].
    """
    right, present, predicted = _sums(counts)
    return _ratio(2 * right, present + predicted)


def mean_over_classes(values: ArrayLike, *, background: bool = True) -> np.ndarray:
    """The mean over classes, without those that are NaN: of IoU "mean IoU".

    Args:
      values: ``[..., K]``, as ``intersection_over_union`` or ``dice`` give them.
      background: whether class 0 counts. It is large and easy, and hides differences.

    Returns:
      float64 ``[...]``.

    Raises:
      ValueError: if no class is left.
    """
    chosen = np.asarray(values, np.float64)[..., 0 if background else 1 :]
    known = ~np.isnan(chosen)
    if not known.any(-1).all():
        raise ValueError("there must be a class to take the mean of, got none that is a number.")
    return np.where(known, chosen, 0).sum(-1) / known.sum(-1)


def pixel_accuracy(counts: ArrayLike) -> np.ndarray:
    """The part of all pixels that is right: float64 ``[...]`` for counts ``[..., K, K]``."""
    right, there, _ = _sums(counts)
    return right.sum(-1) / there.sum(-1)


def _sums(counts: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels of each class that are right, that are present, and that were predicted."""
    table = np.asarray(counts, np.float64)
    if table.ndim < 2 or table.shape[-1] != table.shape[-2]:
        raise ValueError(f"counts must be [..., K, K], got shape {table.shape}.")
    return np.diagonal(table, axis1=-2, axis2=-1), table.sum(-1), table.sum(-2)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.where(below > 0, above / np.where(below > 0, below, 1), np.nan)
