"""Members of an ensemble and their weights, chosen on validation data.

Both choices are for the mean of probabilities, rule "probabilities" of `combine`. Scores on the
validation data are optimistic: report the ensemble on other data.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.ensemble.combination import Logits, check_labels, check_logits, log_softmax
from cnnlab.spelling import unknown

METRICS = ("nll", "accuracy")
"""The metrics that `greedy_selection` can optimise."""

# A probability that underflowed to 0 has a logarithm of -708.
_TINY = np.finfo(np.float64).tiny


def validation_weights(
    logits: Logits, labels: ArrayLike, *, tolerance: float = 1e-6, steps: int = 10_000
) -> np.ndarray:
    """The weights of the mixture of members that has the least negative log-likelihood.

    Expectation maximisation from equal weights. The problem is convex, so this is the global
    minimum, and no step increases it. The largest mean of p_m / mixture (the probabilities of the
    true classes) less 1 bounds the distance of the likelihood from it; the iteration stops when the
    bound is small. A member that the mixture does not need gets a weight near zero, not zero. Equal
    members get equal weights.

    Args:
      logits: [M, N, K] or M arrays [N, K], on validation data.
      labels: integers [N] in [0, K).
      tolerance: stop when the likelihood is within this of the best one, in nats an example.
      steps: the most steps, >= 1; after these the weights are returned as they are.

    Returns:
      float64 [M], > 0 (but for underflow), adding up to 1.

    Raises:
      ValueError: for invalid logits or labels, or no step.

    Source: Dempster, Laird and Rubin, JRSS B 1977, section 4.3 (mixing proportions alone).
    """
    if steps < 1:
        raise ValueError(f"steps must be >= 1, got {steps}.")
    members = check_logits(logits)
    y = check_labels(labels, members[0].shape)
    rows = np.arange(len(y))
    true = np.array([log_softmax(member)[rows, y] for member in members])
    # A factor of an example cancels in every step: with the largest 1, nothing is 0 / 0.
    likelihoods = np.exp(true - true.max(0))
    weights = np.full(len(members), 1 / len(members))
    for _ in range(steps):
        gains = likelihoods @ (1 / (weights @ likelihoods)) / len(y)
        if gains.max() - 1 <= tolerance:
            break
        weights = weights * gains
        weights /= weights.sum()  # it is 1 but for rounding
    return weights


def greedy_selection(
    logits: Logits,
    labels: ArrayLike,
    *,
    metric: str = "nll",
    rounds: int = 50,
    start: int = 1,
    bags: int = 1,
    bag_fraction: float = 0.5,
    seed: int = 0,
) -> np.ndarray:
    """The weights of greedy ensemble selection: each round adds the member that helps most.

    Starts with the best members: as many, up to ``start``, as are best together. A member may be
    added again, which raises its weight. The best of all the ensembles on the way is returned, the
    first on a tie: with one bag, never worse than the best single member on these data. With more,
    selection runs on random subsets of the members, and the weights are the
    mean over the bags: less fitted to the validation data where there are many members.

    Args:
      logits: [M, N, K] or M arrays [N, K], on validation data.
      labels: integers [N] in [0, K).
      metric: "nll", the negative log-likelihood, or "accuracy", its ties decided by the nll.
      rounds: members added after the start, >= 0.
      start: >= 1; the most members to begin with (all of a bag, where it is larger).
      bags: >= 1.
      bag_fraction: of the members in each bag, in (0, 1], at least one; without effect for one
        bag, which holds all members.
      seed: of the bags.

    Returns:
      float64 [M], adding up to 1: the relative frequency with which each member was added.

    Raises:
      ValueError: for invalid logits, labels or options.

    Source: Caruana et al., Ensemble Selection from Libraries of Models, ICML 2004, section 2.
    """
    if metric not in METRICS:
        raise ValueError(unknown("metric", metric, METRICS))
    for name, value, least in (("rounds", rounds, 0), ("start", start, 1), ("bags", bags, 1)):
        if value < least:
            raise ValueError(f"{name} must be >= {least}, got {value}.")
    if not 0 < bag_fraction <= 1:
        raise ValueError(f"bag_fraction must lie in (0, 1], got {bag_fraction}.")
    members = check_logits(logits)
    y = check_labels(labels, members[0].shape)
    p = np.array([np.exp(log_softmax(member)) for member in members])
    everyone = np.arange(len(members))
    if bags == 1:
        return _select(p, y, everyone, metric, rounds, start)
    size = max(1, round(bag_fraction * len(members)))
    generator = np.random.default_rng(seed)
    chosen = [np.sort(generator.choice(everyone, size, replace=False)) for _ in range(bags)]
    return np.mean([_select(p, y, bag, metric, rounds, start) for bag in chosen], axis=0)


def _select(
    p: np.ndarray, y: np.ndarray, bag: np.ndarray, metric: str, rounds: int, start: int
) -> np.ndarray:
    """The weights [M] of one selection from the members ``bag`` of p [M, N, K]."""
    alone = [_loss(p[m], y, metric) for m in bag]
    ranked = bag[sorted(range(len(bag)), key=alone.__getitem__)]
    total = np.zeros(p.shape[1:])
    path: list[tuple[tuple[float, float], list[int]]] = []
    for count, m in enumerate(ranked[:start], start=1):
        total = total + p[m]
        path.append((_loss(total / count, y, metric), ranked[:count].tolist()))
    best = min(path, key=lambda point: point[0])
    taken = list(best[1])
    total = p[taken].sum(0)
    for _ in range(rounds):
        losses = [_loss((total + p[m]) / (len(taken) + 1), y, metric) for m in bag]
        least = min(range(len(bag)), key=losses.__getitem__)
        taken.append(int(bag[least]))
        total = total + p[taken[-1]]
        best = min(best, (losses[least], list(taken)), key=lambda point: point[0])
    return np.bincount(best[1], minlength=len(p)) / len(best[1])


def _loss(p: np.ndarray, y: np.ndarray, metric: str) -> tuple[float, float]:
    """The loss to minimise, and the one that decides a tie."""
    nll = -float(np.log(np.maximum(p[np.arange(len(y)), y], _TINY)).mean())
    return (nll, 0.0) if metric == "nll" else (-float((p.argmax(-1) == y).mean()), nll)
