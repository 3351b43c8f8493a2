"""Combined predictions of an ensemble: means of probabilities, means of logits, votes.

Every rule is a weighted mean of one term for each member, and a last step on that mean. Pure
functions on host arrays, in float64.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.spelling import unknown

RULES = ("probabilities", "logits", "geometric", "vote")
"""The names of the rules of `combine`."""

Logits = ArrayLike | Sequence[ArrayLike]
"""[M, N, K], or M arrays [N, K]."""

# The share of the mean probability in a vote: enough to decide ties in spite of rounding.
_TIE = 1e-6


def combine(
    logits: Logits, rule: str = "probabilities", weights: ArrayLike | None = None
) -> np.ndarray:
    """The probabilities that an ensemble assigns to the classes.

    The rules:
      probabilities: the mean of the members' softmaxes; a mixture of the members.
      logits: the softmax of the mean logits.
      geometric: the geometric mean of the members' softmaxes, normalised to add up to 1. It equals
        "logits", since a softmax does not change when a number is added to all logits of an
        example; it is computed from log-probabilities, so nothing underflows.
      vote: the share of the members that predict the class (a member predicts its most probable
        one, the first on a tie). The class with the larger mean probability wins a tie: the first
        class would win too often, and two members tie whenever they differ. For that a millionth
        of the mean probability is mixed in, so that the largest entry is the winner. The
        probability of a class without a vote is at most that millionth (and 0 where all
        softmaxes underflow): use the accuracy of a vote, not its negative log-likelihood.

    Args:
      logits: [M, N, K] or M arrays [N, K], finite; any float type.
      rule: one of `RULES`.
      weights: [M], >= 0 and not all zero, divided by their sum; None for equal ones.

    Returns:
      float64 [N, K], each row adding up to 1.

    Raises:
      ValueError: for an unknown rule, an empty ensemble, members of different shapes or with logits
        that are not finite (the member is named), or invalid weights.
    """
    term, finish = _rule(rule)
    members = check_logits(logits)
    shares = check_weights(weights, len(members))
    mean = np.zeros(members[0].shape)
    for member, share in zip(members, shares, strict=True):
        if share:
            mean += share * term(member)
    return finish(mean)


def combine_by_count(logits: Logits, rule: str = "probabilities") -> list[np.ndarray]:
    """The probabilities of the first member alone, of the first two, … of all M together.

    Args:
      logits: as for `combine`.
      rule: as for `combine`; the members count equally.

    Returns:
      M arrays, float64 [N, K].

    Raises:
      ValueError: as `combine`.
    """
    term, finish = _rule(rule)
    members = check_logits(logits)
    total = np.zeros(members[0].shape)
    curve = []
    for count, member in enumerate(members, start=1):
        total += term(member)
        curve.append(finish(total / count))
    return curve


def score_subsets(
    logits: Logits,
    score: Callable[[np.ndarray], float],
    rule: str = "probabilities",
    *,
    most: int = 100,
    seed: int = 0,
) -> list[np.ndarray]:
    """The score of subsets of the members, for each number of members.

    The mean over subsets of m members estimates the score of an ensemble of m without bias where
    the members are alike (trained independently); unlike `combine_by_count` it does not depend on
    their order. The subsets share members, so their spread is no standard error, and it shrinks
    to none at M; for an uncertainty repeat whole ensembles.

    Args:
      logits: as for `combine`.
      score: probabilities [N, K] -> a number.
      rule: as for `combine`; the members count equally.
      most: the most subsets of one size, >= 1. All are scored where there are no more, else
        ``most`` different ones at random.
      seed: of that choice.

    Returns:
      M arrays, float64 [S_m]: a score for each subset of m = 1, 2, … M members.

    Raises:
      ValueError: as `combine`, or ``most`` < 1.
    """
    if most < 1:
        raise ValueError(f"most must be >= 1, got {most}.")
    term, finish = _rule(rule)
    terms = np.array([term(member) for member in check_logits(logits)])
    generator = np.random.default_rng(seed)
    scores = []
    for size in range(1, len(terms) + 1):
        chosen = _subsets(len(terms), size, most, generator)
        scores.append(
            np.array([float(score(finish(terms[list(subset)].mean(0)))) for subset in chosen])
        )
    return scores


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """The logarithm of the softmax over the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def softmax(logits: np.ndarray) -> np.ndarray:
    """The softmax over the last axis, in float64."""
    return np.exp(log_softmax(logits))


def check_logits(logits: Logits) -> list[np.ndarray]:
    """Checks the logits of an ensemble as `combine` describes; returns an array for each member."""
    if hasattr(logits, "ndim"):
        array = np.asarray(logits)
        if array.ndim != 3:
            advice = "One network is an ensemble as logits[None]."
            if array.ndim == 4:
                n, k = array.shape[2:]
                advice = f"Views and samples are members as logits.reshape(-1, {n}, {k})."
            raise ValueError(f"logits must be [M, N, K], got shape {array.shape}. {advice}")
        members = list(array)
    else:
        members = [np.asarray(member) for member in logits]  # type: ignore[union-attr]
    if not members:
        raise ValueError("an ensemble must have at least one member, got none.")
    shape = members[0].shape
    for m, member in enumerate(members):
        if member.ndim != 2 or not member.size or member.dtype.kind not in "fiuV":
            raise ValueError(
                f"each member's logits must be numbers of shape [N, K], N and K >= 1, got "
                f"{member.dtype} of shape {member.shape} for member {m}."
            )
        if member.shape != shape:
            raise ValueError(
                f"all members must have logits of the same examples and classes, [N, K], got "
                f"{shape} for member 0 and {member.shape} for member {m}. Leave that one out, or "
                "evaluate it on the same data."
            )
        finite = np.isfinite(member)
        if not finite.all():
            raise ValueError(
                f"logits must be finite, got {finite.size - np.count_nonzero(finite)} of "
                f"{finite.size} that are not for member {m}. It may have diverged: leave it out."
            )
    return members


def check_labels(labels: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """Checks that labels are integers [N] in [0, K) for the shape (N, K); returns int64."""
    array = np.asarray(labels)
    if array.shape != shape[:1] or array.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be integers, one for each of the {shape[0]} examples, got {array.dtype} "
            f"of shape {array.shape}."
        )
    if array.min() < 0 or array.max() >= shape[1]:
        raise ValueError(f"labels must lie in [0, {shape[1]}), got {array.min()} to {array.max()}.")
    return array.astype(np.int64)


def check_weights(weights: ArrayLike | None, members: int) -> np.ndarray:
    """Checks weights as `combine` describes; returns float64 [M] that adds up to 1."""
    if weights is None:
        return np.full(members, 1 / members)
    array = np.asarray(weights, np.float64)
    if array.shape != (members,):
        raise ValueError(
            f"weights must be one number for each of the {members} members, got shape "
            f"{array.shape}."
        )
    if not (np.isfinite(array).all() and (array >= 0).all() and array.any()):
        raise ValueError(f"weights must be finite, >= 0 and not all zero, got {array.tolist()}.")
    scaled = array / array.max()  # so that the sum of the largest floats is finite
    return scaled / scaled.sum()


Step = Callable[[np.ndarray], np.ndarray]


def _rule(name: str) -> tuple[Step, Step]:
    """The functions (a member's logits -> its term, the mean of the terms -> probabilities)."""
    if name not in RULES:
        raise ValueError(unknown("rule", name, RULES))
    return {
        "probabilities": (softmax, _identity),
        "logits": (_float64, softmax),
        "geometric": (log_softmax, softmax),
        "vote": (_ballot, _identity),
    }[name]


def _identity(values: np.ndarray) -> np.ndarray:
    return values


def _float64(logits: np.ndarray) -> np.ndarray:
    return logits.astype(np.float64)


def _ballot(logits: np.ndarray) -> np.ndarray:
    vote = np.zeros(logits.shape)
    vote[np.arange(len(logits)), logits.argmax(-1)] = 1.0
    return (1 - _TIE) * vote + _TIE * softmax(logits)


def _subsets(
    members: int, size: int, most: int, generator: np.random.Generator
) -> list[tuple[int, ...]]:
    if math.comb(members, size) <= most:
        return list(itertools.combinations(range(members), size))
    chosen: dict[tuple[int, ...], None] = {}  # a set that keeps the order
    while len(chosen) < most:
        chosen[tuple(sorted(generator.choice(members, size, replace=False).tolist()))] = None
    return list(chosen)
