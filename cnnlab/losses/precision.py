"""The precision that losses are computed in."""

import jax
from jax import numpy as jnp


def at_least_float32(x: jax.Array) -> jax.Array:
    """``x``, in float32 where it is narrower: squares and sums of float16 overflow at 65,504."""
    x = jnp.asarray(x)
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
