"""Activation functions as one choice."""

from collections.abc import Callable

import jax
from jax import numpy as jnp

from cnnlab.spelling import unknown


def _gelu(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=False)


def _relu6(x: jax.Array) -> jax.Array:
    # No gradient at 6 itself, as at 0; and not a number stays so.
    return jnp.where(x >= 6, jnp.asarray(6, x.dtype), jax.nn.relu(x))


def _identity(x: jax.Array) -> jax.Array:
    return x


_FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "relu6": _relu6,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "gelu": _gelu,
    "silu": jax.nn.silu,
    "identity": _identity,
}

KINDS = tuple(_FUNCTIONS)


def activation(kind: str) -> Callable[[jax.Array], jax.Array]:
    """The activation function called ``kind``, for every element of an array.

    Args:
      kind: "sigmoid"; "tanh"; "relu"; "relu6" (no more than 6; MobileNets, Howard et al., 2017);
        "leaky_relu" (slope 0.01 below zero; Maas et al., 2013); "elu" (alpha 1; Clevert et al.,
        2016); "gelu" (x times the normal distribution function of x, exactly and not by tanh;
        Hendrycks and Gimpel, 2016); "silu" (x times its sigmoid, also called swish; Elfwing et al.,
        2018); "identity".

    Raises:
      ValueError: for an unknown kind.
    """
    if kind not in _FUNCTIONS:
        raise ValueError(unknown("activation", kind, KINDS))
    return _FUNCTIONS[kind]
