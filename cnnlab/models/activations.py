"""Activation functions as one choice."""

from collections.abc import Callable

import jax

from cnnlab.spelling import unknown


def _gelu(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=False)


def _identity(x: jax.Array) -> jax.Array:
    return x


_FUNCTIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "sigmoid": jax.nn.sigmoid,
    "tanh": jax.numpy.tanh,
    "relu": jax.nn.relu,
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
      kind: "sigmoid"; "tanh"; "relu"; "leaky_relu" (slope 0.01 below zero; Maas et al., 2013);
        "elu" (alpha 1; Clevert et al., 2016); "gelu" (x times the normal distribution function of
        x, exactly and not by tanh; Hendrycks and Gimpel, 2016); "silu" (x times its sigmoid, also
        called swish; Elfwing et al., 2018); "identity".

    Raises:
      ValueError: for an unknown kind.
    """
    if kind not in _FUNCTIONS:
        raise ValueError(unknown("activation", kind, KINDS))
    return _FUNCTIONS[kind]
