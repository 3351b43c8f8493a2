"""Measures of how much the members of an ensemble differ, and of its effect on the loss.

Pairwise measures of predictions and errors (Kuncheva and Whitaker, Machine Learning 2003), and
the exact decompositions: the ensemble's loss is the mean loss of its members less their ambiguity.
Pure functions on host arrays, in float64.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.ensemble.combination import Logits, check_labels, check_logits, log_softmax


@dataclasses.dataclass(frozen=True)
class Decomposition:
    """A loss of the ensemble in two parts: ``ensemble == members - ambiguity``, exactly.

    Attributes:
      members: the mean of the members' losses.
      ambiguity: what the ensemble gains over that mean.
      ensemble: the ensemble's loss.
    """

    members: float
    ambiguity: float
    ensemble: float


@dataclasses.dataclass(frozen=True, eq=False)
class Diversity:
    """Measures of how M members differ; undefined ones (no pair, no error) are NaN.

    The matrices are float64 [M, M] and symmetric; `mean` takes their mean over pairs.

    Attributes:
      members: M.
      disagreement: the share of examples for which two members predict different classes.
      error_correlation: the correlation (phi coefficient) of two members' 0/1 errors; NaN where a
        member makes no error, or only errors.
      double_fault: the share of examples that both get wrong.
      kappa: Cohen's kappa of the predicted classes, 1 for the same predictions, 0 for agreement
        by chance; NaN where both predict one same class always.
      brier: of the mean of the probabilities; the ambiguity is the members' mean variance round
        it, summed over the classes (Krogh and Vedelsby, NIPS 1995).
      nll: of the mean of the probabilities, in nats; the ambiguity is Jensen's gap, which depends
        on the labels.
      nll_geometric: of the normalised geometric mean (rules "geometric" and "logits"); the
        ambiguity is the mean Kullback-Leibler divergence of the members from it, KL(geometric
        mean || member), which does not depend on the labels (Heskes, NIPS 1997).
      error: 1 - accuracy of the mean of the probabilities. The ambiguity is
        ``good_diversity - bad_diversity``.
      good_diversity: the share of members that are wrong where the ensemble is right, over all
        examples.
      bad_diversity: the share of members that are right where the ensemble is wrong. Both are
        those of Brown and Kuncheva (MCS 2010) for two classes and a majority vote.
    """

    members: int
    disagreement: np.ndarray
    error_correlation: np.ndarray
    double_fault: np.ndarray
    kappa: np.ndarray
    brier: Decomposition
    nll: Decomposition
    nll_geometric: Decomposition
    error: Decomposition
    good_diversity: float
    bad_diversity: float

    def summary(self) -> dict[str, float | int | dict[str, float] | None]:
        """Plain numbers for a JSON document: matrices as their mean over pairs, NaN as None."""
        pairwise = ("disagreement", "error_correlation", "double_fault", "kappa")
        means = {name: mean(getattr(self, name)) for name in pairwise}
        losses = ("brier", "nll", "nll_geometric", "error")
        return {
            "members": self.members,
            **{name: None if math.isnan(value) else value for name, value in means.items()},
            **{name: dataclasses.asdict(getattr(self, name)) for name in losses},
            "good_diversity": self.good_diversity,
            "bad_diversity": self.bad_diversity,
        }


def diversity(logits: Logits, labels: ArrayLike) -> Diversity:
    """Measures how the members of an ensemble differ.

    Args:
      logits: [M, N, K] or M arrays [N, K], finite. For M = 1 the means over pairs are NaN.
      labels: integers [N] in [0, K).

    Raises:
      ValueError: for invalid logits or labels.
    """
    members = check_logits(logits)
    y = check_labels(labels, members[0].shape)
    predictions = np.array([member.argmax(-1) for member in members])
    disagreement = np.array([(one != predictions).mean(1) for one in predictions])
    wrong = predictions != y
    both = wrong.astype(np.float64) @ wrong.T / len(y)
    log_p = np.array([log_softmax(member) for member in members])
    p = np.exp(log_p)
    mixture = p.mean(0)
    good, bad, error = _error(wrong, mixture.argmax(-1) != y)
    return Diversity(
        members=len(members),
        disagreement=disagreement,
        error_correlation=_correlation(wrong),
        double_fault=both,
        kappa=_kappa(predictions, disagreement, members[0].shape[1]),
        brier=_brier(p, mixture, y),
        nll=_nll(log_p, mixture, y),
        nll_geometric=_nll_geometric(log_p, y),
        error=error,
        good_diversity=good,
        bad_diversity=bad,
    )


def mean(matrix: np.ndarray) -> float:
    """The mean of a symmetric [M, M] over its pairs, those that are NaN left out; or NaN."""
    pairs = matrix[np.triu_indices(len(matrix), 1)]
    known = pairs[~np.isnan(pairs)]
    return float(known.mean()) if known.size else math.nan


def _correlation(wrong: np.ndarray) -> np.ndarray:
    """The correlation of the rows of a boolean [M, N]."""
    centred = wrong - wrong.mean(1, keepdims=True)
    norms = np.sqrt((centred**2).sum(1))
    norms[wrong.all(1) | ~wrong.any(1)] = np.nan  # not left to rounding
    correlation = centred @ centred.T / np.outer(norms, norms)
    return np.clip(correlation, -1, 1)


def _kappa(predictions: np.ndarray, disagreement: np.ndarray, classes: int) -> np.ndarray:
    shares = np.array([np.bincount(one, minlength=classes) for one in predictions])
    chance = shares @ shares.T / predictions.shape[1] ** 2
    return 1 - disagreement / np.where(chance == 1, np.nan, 1 - chance)


def _brier(p: np.ndarray, mixture: np.ndarray, y: np.ndarray) -> Decomposition:
    target = np.eye(mixture.shape[1])[y]
    members = float(((p - target) ** 2).sum(-1).mean())
    variance = float(((p - mixture) ** 2).sum(-1).mean())
    return Decomposition(members, variance, float(((mixture - target) ** 2).sum(-1).mean()))


def _nll(log_p: np.ndarray, mixture: np.ndarray, y: np.ndarray) -> Decomposition:
    rows = np.arange(len(y))
    true = log_p[:, rows, y]
    largest = true.max(0)  # in logarithms: a probability may underflow
    log_mixture = largest + np.log(np.exp(true - largest).mean(0))
    members, ensemble = -float(true.mean()), -float(log_mixture.mean())
    return Decomposition(members, members - ensemble, ensemble)


def _nll_geometric(log_p: np.ndarray, y: np.ndarray) -> Decomposition:
    log_g = log_softmax(log_p.mean(0))
    divergence = float((np.exp(log_g) * (log_g - log_p)).sum(-1).mean())
    rows = np.arange(len(y))
    members, ensemble = -float(log_p[:, rows, y].mean()), -float(log_g[rows, y].mean())
    return Decomposition(members, divergence, ensemble)


def _error(wrong: np.ndarray, together: np.ndarray) -> tuple[float, float, Decomposition]:
    share = wrong.mean(0)
    good = float(np.where(together, 0, share).mean())
    bad = float(np.where(together, 1 - share, 0).mean())
    return good, bad, Decomposition(float(share.mean()), good - bad, float(together.mean()))
