"""Labels that are of no class: compiled code cannot raise, so what is computed of them is NaN."""

import jax
from jax import numpy as jnp


def one_or_nan(labels: jax.Array, classes: int) -> jax.Array:
    """Float32 of the shape of ``labels``: 1 where they are in ``[0, classes)``, else NaN.

    As a factor it leaves a loss and its gradient as they are, to the last bit, or makes both NaN:
    an index would be counted from the end, and a one-hot row would be empty, without a word.
    """
    return jnp.where((labels >= 0) & (labels < classes), jnp.float32(1), jnp.float32(jnp.nan))
