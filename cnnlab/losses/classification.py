"""Losses of classifiers: cross-entropy, distillation and regression on logits."""

from collections.abc import Callable

import jax
import numpy as np
import optax
from jax import numpy as jnp

from cnnlab.losses.labels import one_or_nan
from cnnlab.losses.precision import at_least_float32

TargetLoss = Callable[..., jax.Array]
"""``(logits [N, K], labels [N], targets [N, K] | None = None) -> losses [N]``."""


def softmax_cross_entropy(
    logits: jax.Array, labels: jax.Array, *, label_smoothing: float = 0.0
) -> jax.Array:
    """The cross-entropy of the softmax of ``logits`` with integer labels, in nats.

    Args:
      logits: float ``[N, K]``.
      labels: integer ``[N]`` in ``[0, K)``; the loss and the gradient of another one are NaN.
      label_smoothing: the weight in [0, 1) of the uniform distribution that the target is mixed
        with; 0.1 is usual.

    Returns:
      float ``[N]``, float32 for logits that are narrower.

    Raises:
      ValueError: for other shapes or a smoothing outside [0, 1).

    Source: for the smoothing, Szegedy et al., CVPR 2016, section 7.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            "logits must be [N, K] and labels integers [N], "
            f"got shapes {logits.shape} and {labels.shape}."
        )
    _check_smoothing(label_smoothing)
    logits = at_least_float32(logits)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    losses *= one_or_nan(labels, logits.shape[-1])
    if not label_smoothing:
        return losses
    uniform = -jnp.mean(jax.nn.log_softmax(logits), axis=-1)
    return (1 - label_smoothing) * losses + label_smoothing * uniform


def distillation(
    temperature: float = 4.0, weight: float = 0.9, *, label_smoothing: float = 0.0
) -> TargetLoss:
    """Distillation: T² KL divergence from the teacher's softened outputs, and cross-entropy.

    The loss is ``weight * T^2 * KL(softmax(targets / T) || softmax(logits / T))`` and
    ``1 - weight`` times the cross-entropy with the labels. The Kullback-Leibler divergence differs
    from the paper's cross-entropy by the teacher's entropy: the gradients are the same, and a
    student that agrees with its teacher has a gradient of zero. ``T^2`` keeps the gradient's size
    at every temperature; towards infinity this becomes ``logits_matching(centred=True)``.

    Args:
      temperature: T > 0; 1 takes the teacher's probabilities as they are, 2.5 to 20 is usual.
      weight: of the teacher, in [0, 1]. With 1 the labels are not used.
      label_smoothing: of the cross-entropy with the labels.

    Returns:
      ``loss(logits, labels, targets=None)``; ``targets`` are the teacher's logits, float
      ``[N, K]``. Without them, on data that no teacher saw, it is the cross-entropy alone.

    Raises:
      ValueError: for numbers out of range.

    Example:
      >>> loss = distillation(temperature=20.0, weight=0.9)
      >>> recipe = dataclasses.replace(recipe, loss=loss)

    Source: Hinton, Vinyals & Dean, arXiv 1503.02531, 2015, section 2.
    """
    if not 0 < temperature < float("inf"):
        raise ValueError(
            f"the temperature must be positive and finite, got {temperature}. "
            "A temperature of 1 leaves the probabilities as they are; in place of an infinite one "
            "use logits_matching(centred=True), its limit."
        )

    def soft(logits: jax.Array, targets: jax.Array) -> jax.Array:
        student = jax.nn.log_softmax(logits / temperature)
        teacher = jax.nn.log_softmax(targets / temperature)
        # Where the teacher rules a class out, 0 * (-inf - student) is 0.
        terms = jnp.where(jnp.isneginf(teacher), 0, jnp.exp(teacher) * (teacher - student))
        return temperature**2 * jnp.sum(terms, axis=-1)

    return _mix_with_labels(soft, weight, label_smoothing)


def logits_matching(
    weight: float = 1.0,
    *,
    centred: bool = False,
    scale: float | np.ndarray = 1.0,
    label_smoothing: float = 0.0,
) -> TargetLoss:
    """Regression on a teacher's logits: half the mean over classes of squared errors.

    Args:
      weight: of the teacher, in [0, 1]; the cross-entropy with the labels has ``1 - weight``. With
        1 the labels are not used.
      centred: subtract the mean over the classes from each example's logits first, the student's
        and the teacher's; the softmax does not depend on it.
      scale: > 0, a number or ``[K]``: the divisor of the errors. With the standard deviations of
        the teacher's logits over the training images this is the regression on standardised
        logits; its gradients are smaller by the square. Unscaled, the curvature is 1 / K for every
        confidence of the teacher, and so learning rates need not change with it.
      label_smoothing: of the cross-entropy with the labels.

    Returns:
      ``loss(logits, labels, targets=None)``, as of ``distillation``.

    Raises:
      ValueError: for numbers out of range.

    Source: Ba & Caruana, NIPS 2014, section 2.2; Urban et al., ICLR 2017, section 2.
    """
    if not (np.all(np.asarray(scale) > 0) and np.all(np.isfinite(scale)) and np.ndim(scale) < 2):
        raise ValueError(f"scale must be positive and finite, a number or [K], got {scale}.")

    def squared(logits: jax.Array, targets: jax.Array) -> jax.Array:
        errors = logits - targets
        if centred:
            errors -= jnp.mean(errors, axis=-1, keepdims=True)
        return jnp.mean(jnp.square(errors / jnp.asarray(scale, errors.dtype)), axis=-1) / 2

    return _mix_with_labels(squared, weight, label_smoothing)


def _mix_with_labels(
    soft: Callable[[jax.Array, jax.Array], jax.Array], weight: float, label_smoothing: float
) -> TargetLoss:
    """``weight`` times ``soft(logits, targets)`` plus ``1 - weight`` times the cross-entropy."""
    if not 0 <= weight <= 1:
        raise ValueError(
            f"the teacher's weight must be in [0, 1], got {weight}: 0 is the labels alone, 1 the "
            "teacher alone."
        )
    _check_smoothing(label_smoothing)

    def loss(logits: jax.Array, labels: jax.Array, targets: jax.Array | None = None) -> jax.Array:
        if targets is None:
            return softmax_cross_entropy(logits, labels, label_smoothing=label_smoothing)
        if logits.ndim != 2 or targets.shape != logits.shape:
            raise ValueError(
                "targets must be a teacher's logits [N, K] for the same examples and classes as "
                f"logits [N, K], got shapes {targets.shape} and {logits.shape}."
            )
        logits, targets = at_least_float32(logits), at_least_float32(targets)
        total = weight * soft(logits, targets) if weight else jnp.zeros((), logits.dtype)
        if weight < 1:  # with 1 the labels may be placeholders
            hard = softmax_cross_entropy(logits, labels, label_smoothing=label_smoothing)
            total += (1 - weight) * hard
        return total

    return loss


def _check_smoothing(label_smoothing: float) -> None:
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}.")
