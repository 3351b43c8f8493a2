"""Metrics as sums and counts, so that they add over batches, devices and uneven parts."""

from typing import NamedTuple

import jax
import numpy as np
from jax import numpy as jnp


class Sums(NamedTuple):
    """What batches add up to. With members, every leaf is ``[M]``."""

    loss: jax.Array  # float32 [], sum over examples, in nats
    correct: jax.Array  # int32 [], examples whose highest logit is the label's
    examples: jax.Array  # int32 [], how many
    diverged: jax.Array  # int32 [], the first step whose loss was not finite; NEVER if none


NEVER = np.iinfo(np.int32).max
"""``Sums.diverged`` where every loss was finite."""


def zero_sums() -> Sums:
    """The sums of no batch."""
    zero = jnp.zeros((), jnp.int32)
    return Sums(jnp.zeros((), jnp.float32), zero, zero, jnp.full((), NEVER, jnp.int32))


def add(left: Sums, right: Sums) -> Sums:
    """The sums of both."""
    return Sums(
        left.loss + right.loss,
        left.correct + right.correct,
        left.examples + right.examples,
        jnp.minimum(left.diverged, right.diverged),
    )


def batch_sums(
    logits: jax.Array,
    labels: jax.Array,
    losses: jax.Array,
    weights: jax.Array,
    step: jax.Array | int = 0,
) -> Sums:
    """The sums of one batch.

    Args:
      logits: float ``[N, K]``.
      labels: int ``[N]``.
      losses: float ``[N]``.
      weights: float ``[N]``, 0 for examples that do not count.
      step: which step this is, should a loss not be finite.
    """
    counted = weights > 0
    loss = jnp.sum(jnp.where(counted, losses, 0).astype(jnp.float32))
    correct = (jnp.argmax(logits, axis=-1) == labels) & counted
    return Sums(
        loss=loss,
        correct=jnp.sum(correct, dtype=jnp.int32),
        examples=jnp.sum(counted, dtype=jnp.int32),
        diverged=jnp.where(jnp.isfinite(loss), NEVER, step).astype(jnp.int32),
    )


def means(sums: Sums) -> dict[str, np.ndarray]:
    """``{"loss", "accuracy"}``, each a float array of the shape of the sums (``[M]`` or ``[]``).

    This waits for the device.

    Raises:
      ValueError: if there was no example.
    """
    loss, correct, examples, _ = jax.device_get(sums)
    if not np.all(examples > 0):
        raise ValueError("metrics need at least one example, got none.")
    return {
        "loss": np.asarray(loss, np.float64) / examples,
        "accuracy": np.asarray(correct, np.float64) / examples,
    }
