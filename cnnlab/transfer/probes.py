"""Linear probes: linear classifiers on features.

    probe = fit_probe(train, labels, val, val_labels, 10, kind="ridge")
    probe.linear.accuracy(test, test_labels)

Source: Alain and Bengio, Understanding intermediate layers using linear classifier probes, ICLR
workshop 2017; ridge regression on the classes: Hastie, Tibshirani and Friedman, The elements of
statistical learning, 2009, sections 3.4.1 and 4.2.
"""

import warnings
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from numpy.typing import ArrayLike

from cnnlab.spelling import unknown
from cnnlab.transfer.arrays import check_features

KINDS = ("ridge", "logistic")
Kind = Literal["ridge", "logistic"]

PENALTIES = {
    "ridge": tuple(10.0**i for i in range(-2, 6)),
    "logistic": tuple(10.0**i for i in range(-1, 5)),
}
"""The penalties that are tried, for features of unit variance."""

_CHUNK = 2**25  # numbers of features that are converted to float64 at once


class Linear(NamedTuple):
    """A linear classifier on features."""

    weights: np.ndarray  # float64 [D, K]
    bias: np.ndarray  # float64 [K]

    def scores(self, features: ArrayLike) -> np.ndarray:
        """Float64 ``[N, K]`` for features ``[N, D]``; the highest one is the class."""
        return np.asarray(np.asarray(features) @ self.weights + self.bias)

    def correct(self, features: ArrayLike, labels: ArrayLike) -> np.ndarray:
        """True where the predicted class is right, bool ``[N]``."""
        return np.asarray(self.scores(features).argmax(1) == np.asarray(labels))

    def accuracy(self, features: ArrayLike, labels: ArrayLike) -> float:
        """In [0, 1]."""
        return float(self.correct(features, labels).mean())


class Probe(NamedTuple):
    """A linear classifier with the penalty that was best on validation data."""

    linear: Linear
    penalty: float
    validation: float  # accuracy, in [0, 1]


def ridge(features: ArrayLike, labels: ArrayLike, num_classes: int, penalty: float) -> Linear:
    """Least squares on the classes, 1 for the own one and -1 for the others, with ``penalty`` times
    the squared weights: in closed form, and in float64.

    The bias has no penalty. With more features than examples the dual form is solved, which is the
    same.

    Args:
      features: float ``[N, D]``.
      labels: int ``[N]``.
      num_classes: K >= 2.
      penalty: > 0.

    Raises:
      ValueError: for a penalty that is not positive, features that are not finite, or labels that
        are not theirs.
    """
    return ridge_path(features, labels, num_classes, (penalty,))[0]


def ridge_path(
    features: ArrayLike, labels: ArrayLike, num_classes: int, penalties: Sequence[float]
) -> tuple[Linear, ...]:
    """``ridge`` with several penalties, for which the features are multiplied only once."""
    x, classes = _check_examples(features, labels, num_classes)
    for penalty in penalties:
        if not 0 < penalty < np.inf:
            raise ValueError(f"the penalty must be positive and finite, got {penalty}.")
    targets = np.where(classes[:, None] == np.arange(num_classes), 1.0, -1.0)
    centre, mean = x.mean(0, dtype=np.float64), targets.mean(0)
    with jax.enable_x64(True):
        if x.shape[1] <= len(x):
            products, right = _products(x, centre, targets - mean)
            solved = [_solve(products, right, penalty) for penalty in penalties]
        else:
            centred = jnp.asarray(x, jnp.float64) - centre
            products = centred @ centred.T
            dual = [_solve(products, jnp.asarray(targets - mean), p) for p in penalties]
            solved = [centred.T @ each for each in dual]
        weights = [np.asarray(each) for each in solved]
    return tuple(Linear(each, mean - centre @ each) for each in weights)


def logistic(features: ArrayLike, labels: ArrayLike, num_classes: int, penalty: float) -> Linear:
    """Multinomial logistic regression, by scikit-learn.

    The loss is the sum of the cross-entropies, and half of ``penalty`` times the squared weights;
    the bias has no penalty. A class without examples is never predicted.

    Args:
      features: float ``[N, D]``, of about unit variance, or it takes long.
      labels: int ``[N]``, of at least two classes.
      num_classes: K >= 2.
      penalty: > 0.

    Raises:
      ValueError: as ``ridge`` does, or if there are examples of one class only.
    """
    from sklearn.exceptions import ConvergenceWarning  # noqa: PLC0415 scikit-learn is slow to import
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 scikit-learn is slow to import
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 with scikit-learn

    x, classes = _check_examples(features, labels, num_classes)
    if not 0 < penalty < np.inf:
        raise ValueError(f"the penalty must be positive and finite, got {penalty}.")
    present = np.unique(classes)
    if len(present) < 2:
        raise ValueError(
            f"a classifier needs examples of at least two classes, got {len(classes)} of class "
            f"{present[0]} only."
        )
    # Its products are with thin matrices, where a second thread costs more than it saves. A fit
    # that has not quite converged is compared on validation data like the others.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=1 / penalty, max_iter=300).fit(x, classes)
    weights = np.zeros((x.shape[1], num_classes))
    bias = np.full(num_classes, -np.inf)
    if len(present) == 2:  # one row of weights, for the second class against the first
        rows, offsets = np.stack([-model.coef_[0], model.coef_[0]]) / 2, model.intercept_[0] / 2
        weights[:, present], bias[present] = rows.T, (-offsets, offsets)
    else:
        weights[:, present], bias[present] = model.coef_.T, model.intercept_
    return Linear(weights, bias)


def fit_probe(
    features: ArrayLike,
    labels: ArrayLike,
    validation: ArrayLike,
    validation_labels: ArrayLike,
    num_classes: int,
    *,
    kind: Kind = "ridge",
    penalties: Sequence[float] | None = None,
) -> Probe:
    """The probe whose penalty is best on validation data; of equals the one with the highest.

    Features are brought to mean 0 and variance 1, as they are in training, before they are
    penalised; the returned classifier takes features as they are.

    Args:
      features: float ``[N, D]``, to train on.
      labels: int ``[N]``.
      validation: float ``[V, D]``, of the same stage.
      validation_labels: int ``[V]``.
      num_classes: K >= 2.
      kind: "ridge" or "logistic".
      penalties: to choose from; ``PENALTIES`` by default.

    Raises:
      ValueError: as ``ridge`` and ``logistic`` do, for an unknown kind, or for validation features
        of another stage.
    """
    if kind not in KINDS:
        raise ValueError(unknown("kind of probe", kind, KINDS))
    x, classes = _check_examples(features, labels, num_classes)
    held_out, held_out_classes = _check_examples(validation, validation_labels, num_classes)
    if held_out.shape[1] != x.shape[1]:
        raise ValueError(
            "features to train and to validate on must be of the same stage, got "
            f"{x.shape[1]} and {held_out.shape[1]} numbers an example."
        )
    scaled, mean, scale = _standardise(x)
    tried = sorted(PENALTIES[kind] if penalties is None else penalties, reverse=True)
    if kind == "ridge":
        fitted = ridge_path(scaled, classes, num_classes, tried)
    else:
        fitted = tuple(logistic(scaled, classes, num_classes, penalty) for penalty in tried)
    best: Probe | None = None
    for penalty, linear in zip(tried, fitted, strict=True):
        weights = linear.weights * scale[:, None]
        own = Linear(weights, linear.bias - mean @ weights)
        accuracy = own.accuracy(held_out, held_out_classes)
        if best is None or accuracy > best.validation:
            best = Probe(own, penalty, accuracy)
    if best is None:
        raise ValueError("there must be at least one penalty to choose from, got none.")
    return best


def _standardise(features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features of mean 0 and variance 1 in float32, their mean [D], 1 / deviation [D]."""
    mean = features.mean(0, dtype=np.float64)
    rows = max(1, _CHUNK // len(mean))
    parts = [slice(start, start + rows) for start in range(0, len(features), rows)]
    variance = sum(np.square(features[part] - mean).sum(0) for part in parts) / len(features)
    scale = 1 / np.sqrt(np.where(variance > 0, variance, 1))
    scaled = np.empty(features.shape, np.float32)
    for part in parts:
        scaled[part] = (features[part] - mean) * scale
    return scaled, mean, scale


def _products(
    features: np.ndarray, centre: np.ndarray, targets: np.ndarray
) -> tuple[jax.Array, jax.Array]:
    """``X'X`` [D, D] and ``X'Y`` [D, K] of centred features, part by part."""
    width = features.shape[1]
    products, right = jnp.zeros((width, width)), jnp.zeros((width, targets.shape[1]))
    rows = max(1, _CHUNK // width)
    for start in range(0, len(features), rows):
        part = jnp.asarray(features[start : start + rows], jnp.float64) - centre
        products += part.T @ part
        right += part.T @ jnp.asarray(targets[start : start + rows])
    return products, right


def _solve(products: jax.Array, right: jax.Array, penalty: float) -> jax.Array:
    system = products + penalty * jnp.eye(len(products))
    return jax.scipy.linalg.solve(system, right, assume_a="pos")


def _check_examples(
    features: ArrayLike, labels: ArrayLike, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    x, classes = check_features(features), np.asarray(labels)
    if classes.shape != (len(x),):
        raise ValueError(
            f"each of {len(x)} examples needs a label, got labels of shape {classes.shape}: "
            "are they those of other data?"
        )
    if num_classes < 2 or classes.min() < 0 or classes.max() >= num_classes:
        raise ValueError(
            f"labels must be in 0..{num_classes - 1}, of two classes or more, got "
            f"{classes.min()} to {classes.max()}."
        )
    return x, classes
