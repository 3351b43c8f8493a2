"""Metrics as sums and counts, so that they add over batches, devices and uneven parts."""

from typing import NamedTuple

import jax
import numpy as np
from jax import numpy as jnp

from cnnlab.losses.labels import one_or_nan


class Sums(NamedTuple):
    """Sums over batches. With members, every leaf is ``[M]``."""

    loss: jax.Array  # float32 [], sum over examples, in nats
    correct: jax.Array  # float32 [], sum over examples of how right each is, 0 to 1
    examples: jax.Array  # int32 [], how many
    diverged: jax.Array  # int32 [], the first step whose loss was not finite; NEVER if none


NEVER = np.iinfo(np.int32).max
"""``Sums.diverged`` where every loss was finite."""


def zero_sums() -> Sums:
    """The sums of no batch."""
    zero = jnp.zeros((), jnp.float32)
    return Sums(zero, zero, jnp.zeros((), jnp.int32), jnp.full((), NEVER, jnp.int32))


def accuracy(logits: jax.Array, labels: jax.Array, targets: jax.Array | None = None) -> jax.Array:
    """1 for each example whose highest logit is its label's, else 0: float32 ``[N]``.

    Args:
      logits: float ``[N, K]``.
      labels: int ``[N]`` in ``[0, K)``; another one gives NaN, as in the losses.
      targets: are not looked at.
    """
    del targets
    right = (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
    return right * one_or_nan(labels, logits.shape[-1])


def add(left: Sums, right: Sums) -> Sums:
    """The sums of both."""
    return Sums(
        left.loss + right.loss,
        left.correct + right.correct,
        left.examples + right.examples,
        jnp.minimum(left.diverged, right.diverged),
    )


def batch_sums(
    losses: jax.Array,
    scores: jax.Array | None,
    weights: jax.Array,
    step: jax.Array | int = 0,
) -> Sums:
    """The sums of one batch.

    Args:
      losses: float ``[N]``.
      scores: float ``[N]``, how right each example is, such as ``accuracy``; None where nothing is
        right or wrong.
      weights: float ``[N]``, 0 for examples that do not count.
      step: which step this is, should a loss not be finite.

    Raises:
      ValueError: for losses or scores that are not one number an example.
    """
    for name, values in (("loss", losses), ("score", scores)):
        if values is not None and values.shape != weights.shape:
            raise ValueError(
                f"the {name} must be one number for each of {weights.shape[0]} examples, got shape "
                f"{values.shape}. Take the mean over the other axes."
            )
    counted = weights > 0
    loss = jnp.sum(jnp.where(counted, losses, 0).astype(jnp.float32))
    scores = jnp.zeros_like(weights) if scores is None else scores
    return Sums(
        loss=loss,
        correct=jnp.sum(jnp.where(counted, scores, 0).astype(jnp.float32)),
        examples=jnp.sum(counted, dtype=jnp.int32),
        diverged=jnp.where(jnp.isfinite(loss), NEVER, step).astype(jnp.int32),
    )


def means(sums: Sums, *, scored: bool = True) -> dict[str, np.ndarray]:
    """``{"loss", "accuracy"}``, each a float array of the shape of the sums (``[M]`` or ``[]``).

    This waits for the device.

    Args:
      sums: of at least one example.
      scored: whether there was a score; without one there is the loss alone.

    Raises:
      ValueError: if there was no example.
    """
    loss, correct, examples, _ = jax.device_get(sums)
    if not np.all(examples > 0):
        raise ValueError("metrics need at least one example, got none.")
    values = {"loss": np.asarray(loss, np.float64) / examples}
    if scored:
        values["accuracy"] = np.asarray(correct, np.float64) / examples
    return values
