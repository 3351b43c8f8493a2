"""What XLA is kept from fusing on a CPU."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def apart(function: Callable[..., Any], *args: Any) -> Any:
    """``function(*args)``, which a CPU does not fuse with what comes before it, nor compute twice.

    XLA would compute the layers before an operand anew for every element that a strided read of it
    meets. It does not fuse into the branch of a condition, and after the barrier it does not see
    that this one always holds (nor has the condition an axis under ``vmap``). Should a later XLA
    see it, the value stays the same.
    """
    always = lax.optimization_barrier(jnp.bool_(True))
    # Zeros made of the values, so that they vary over the devices as these do; XLA drops the rest.
    return lax.cond(
        always, function, lambda *args: jax.tree.map(jnp.zeros_like, function(*args)), *args
    )
