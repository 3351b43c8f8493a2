"""The scores of predicted probabilities: accuracy, likelihood, Brier, calibration, top-k.

Pure functions on host arrays, in float64.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report.calibration import expected_calibration_error

TINY = float(np.finfo(np.float64).tiny)
"""The least probability that the negative log-likelihood tells from zero: 2.2e-308, 708 nats."""


def scores(
    probabilities: ArrayLike, labels: ArrayLike, *, bins: int = 15, top: int = 5
) -> dict[str, float]:
    """Scores predictions against the true classes.

    Args:
      probabilities: floats [N, K] in [0, 1], each row adding up to 1 (within 1 %).
      labels: integers [N] in [0, K).
      bins: of the calibration error, >= 1.
      top: the k of the top-k accuracy, >= 1; the number of classes where that is smaller (the
        top-k accuracy is 1 then).

    Returns:
      accuracy: the share whose most probable class (the first on a tie) is the true one.
      nll: the mean negative log-likelihood in nats. Probabilities under `TINY` count as that;
        scikit-learn's log_loss clips at 2.2e-16 (36 nats) already.
      brier: the mean squared distance from the one-hot label, summed over the classes: in [0, 2],
        0 the best (Brier, 1950); some take the half of it, or a mean over classes.
      ece: the expected calibration error, over ``bins`` bins of equal width.
      top_k: the share whose true class is among the ``top`` most probable (of equal ones the
        first come first); for top = 1 it is the accuracy.

    Raises:
      ValueError: probabilities, labels or options other than these.

    Source: Brier, Monthly Weather Review 1950; Guo et al., ICML 2017 (calibration error).
    """
    if isinstance(top, bool) or not isinstance(top, int | np.integer) or top < 1:
        raise ValueError(f"top must be an integer >= 1, got {top!r}.")
    # First, for it checks the probabilities and the labels.
    ece = expected_calibration_error(probabilities, labels, bins).ece
    p, y = np.asarray(probabilities).astype(np.float64), np.asarray(labels)
    means = {name: float(values.mean()) for name, values in _scores_per_example(p, y).items()}
    return {**means, "ece": ece, "top_k": float((_true_class_rank(p, y) < top).mean())}


def example_scores(probabilities: ArrayLike, labels: ArrayLike) -> dict[str, np.ndarray]:
    """The scores of each example, for `cnnlab.report.statistics.paired_bootstrap`.

    Args:
      probabilities: as for `scores`.
      labels: as for `scores`.

    Returns:
      accuracy (0 or 1), nll and brier, each float64 [N]; their means are those of `scores`.

    Raises:
      ValueError: probabilities or labels other than these.
    """
    expected_calibration_error(probabilities, labels, 1)  # for its checks
    return _scores_per_example(np.asarray(probabilities).astype(np.float64), np.asarray(labels))


def _scores_per_example(p: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    rows = np.arange(len(y))
    residual = p.copy()
    residual[rows, y] -= 1.0
    return {
        "accuracy": (p.argmax(1) == y).astype(np.float64),
        # No negative value for a probability that is a rounding over 1.
        "nll": -np.log(np.clip(p[rows, y], TINY, 1.0)),
        "brier": (residual**2).sum(1),
    }


def _true_class_rank(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """How many classes come before the true one."""
    true = p[np.arange(len(y)), y][:, None]
    earlier = np.arange(p.shape[1]) < y[:, None]
    return ((p > true) | ((p == true) & earlier)).sum(1)
