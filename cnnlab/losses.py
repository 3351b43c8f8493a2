"""Loss functions: one value for each example; who calls them reduces and masks."""

import jax
import optax
from jax import numpy as jnp


def softmax_cross_entropy(
    logits: jax.Array, labels: jax.Array, *, label_smoothing: float = 0.0
) -> jax.Array:
    """The cross-entropy of the softmax of ``logits`` with integer labels, in nats.

    Args:
      logits: float ``[N, K]``.
      labels: integer ``[N]`` in ``[0, K)``.
      label_smoothing: the weight in [0, 1) of the uniform distribution that the target is mixed
        with; 0.1 is usual.

    Returns:
      float ``[N]``.

    Raises:
      ValueError: for other shapes or a smoothing outside [0, 1).

    Source: for the smoothing, Szegedy et al., CVPR 2016, section 7.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(
            "logits must be [N, K] and labels integers [N], "
            f"got shapes {logits.shape} and {labels.shape}."
        )
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}.")
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    if not label_smoothing:
        return losses
    uniform = -jnp.mean(jax.nn.log_softmax(logits), axis=-1)
    return (1 - label_smoothing) * losses + label_smoothing * uniform
