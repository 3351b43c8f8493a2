"""Calibration error, confusion counts and per-class accuracy of predictions.

Pure functions on host arrays. Source of the calibration error: Guo et al., On Calibration of
Modern Neural Networks, ICML 2017, section 2.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """A reliability diagram in numbers, over B equal bins of confidence.

    Attributes:
      ece: expected calibration error, in [0, 1].
      edges: float64 [B + 1], the bins' edges from 0 to 1; bin b is (edges[b], edges[b + 1]].
      counts: int64 [B], examples in each bin.
      confidence: float64 [B], mean of the largest probability in each bin; NaN where empty.
      accuracy: float64 [B], fraction predicted correctly in each bin; NaN where empty.
    """

    ece: float
    edges: np.ndarray
    counts: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def expected_calibration_error(
    probabilities: ArrayLike, labels: ArrayLike, bins: int = 15
) -> Calibration:
    """Mean distance between confidence and accuracy, weighted by the bins' examples.

    The confidence of an example is its largest probability, its prediction the class that has
    it (the first one on a tie).

    Args:
      probabilities: [N, K] floats in [0, 1], each row adding up to 1 (within 1 %).
      labels: [N] integers in [0, K).
      bins: number of bins of equal width, >= 1; 15 in the paper.

    Raises:
      ValueError: shapes, dtypes or ranges other than these.

    Source: Guo et al., ICML 2017, equation 3.
    """
    p = np.asarray(probabilities)
    if p.ndim != 2 or p.size == 0 or p.dtype.kind not in "fV":
        raise ValueError(
            f"probabilities must be floats of shape [N, K], N >= 1, got {p.dtype} of shape "
            f"{p.shape}."
        )
    p = p.astype(np.float64)
    if not (np.all(p >= 0) and np.all(p <= 1 + 1e-2) and np.all(abs(p.sum(1) - 1) <= 1e-2)):
        raise ValueError(
            f"probabilities must lie in [0, 1] and each row must add up to 1, got values from "
            f"{p.min():.4g} to {p.max():.4g}. Apply a softmax to logits first."
        )
    if isinstance(bins, bool) or not isinstance(bins, int | np.integer) or bins < 1:
        raise ValueError(f"bins must be an integer >= 1, got {bins!r}.")
    y = _classes("labels", labels, p.shape[1])
    if len(y) != len(p):
        raise ValueError(
            f"probabilities and labels must be equally many, got {len(p)} and {len(y)}."
        )
    confidence = np.minimum(p.max(1), 1.0)
    correct = p.argmax(1) == y
    edges = np.linspace(0.0, 1.0, bins + 1)
    which = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    counts = np.bincount(which, minlength=bins)
    filled = np.where(counts == 0, np.nan, counts)
    mean_confidence = np.bincount(which, confidence, bins) / filled
    accuracy = np.bincount(which, correct, bins) / filled
    ece = np.nansum(counts * abs(accuracy - mean_confidence)) / len(y)
    return Calibration(float(ece), edges, counts, mean_confidence, accuracy)


def confusion(labels: ArrayLike, predictions: ArrayLike, num_classes: int) -> np.ndarray:
    """Counts of each pair of true and predicted class.

    Args:
      labels: [N] integers in [0, K), the true classes.
      predictions: [N] integers in [0, K).
      num_classes: K, >= 1.

    Returns:
      int64 [K, K]: row the true class, column the predicted one.

    Raises:
      ValueError: shapes, dtypes or ranges other than these.
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be >= 1, got {num_classes}.")
    y = _classes("labels", labels, num_classes)
    z = _classes("predictions", predictions, num_classes)
    if len(y) != len(z):
        raise ValueError(f"labels and predictions must be equally many, got {len(y)} and {len(z)}.")
    pairs = np.bincount(y * num_classes + z, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def per_class_accuracy(counts: ArrayLike) -> np.ndarray:
    """The fraction of each class's examples that was predicted correctly (its recall).

    Args:
      counts: [K, K] from `confusion`.

    Returns:
      float64 [K] in [0, 1]; NaN for a class without examples.

    Raises:
      ValueError: if ``counts`` is not a square matrix of counts.
    """
    table = square_counts(counts)
    totals = table.sum(1)
    return np.diagonal(table) / np.where(totals == 0, np.nan, totals)


def square_counts(counts: ArrayLike) -> np.ndarray:
    """Checks that ``counts`` is [K, K] integers >= 0, and gives it as int64."""
    table = np.asarray(counts)
    square = table.ndim == 2 and table.shape[0] == table.shape[1] and table.size > 0
    if not square or table.dtype.kind not in "iu" or table.min() < 0:
        raise ValueError(
            f"counts must be a [K, K] matrix of integers >= 0, got {table.dtype} of shape "
            f"{table.shape}. `confusion` makes one."
        )
    return table.astype(np.int64)


def _classes(name: str, values: ArrayLike, num_classes: int) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be integers of shape [N], N >= 1, got {array.dtype} of shape "
            f"{array.shape}."
        )
    if array.min() < 0 or array.max() >= num_classes:
        raise ValueError(
            f"{name} must lie in [0, {num_classes}), got {array.min()} to {array.max()}."
        )
    return array.astype(np.int64)
