"""Checksums of the arrays of a tree, and whether they are finite, computed where they lie."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from cnnlab.mesh import run_once_options


def checksums(tree: Any) -> dict[str, list[int]]:
    """A checksum for each leaf, taken where the leaf lies: ``{path: [32-bit sum, size]}``.

    The sum of the leaf's 32-bit words, each times an odd number that depends on its place, modulo
    2^32: no single changed word leaves it as it was, and other damage does once in 4 billion.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    sums = _on_device(_sum_words, [leaf for _, leaf in leaves])
    return {
        jax.tree_util.keystr(path): [int(total), int(leaf.size)]
        for (path, leaf), total in zip(leaves, sums, strict=True)
    }


def _on_device(function: Callable[..., Any], leaves: list[jax.Array]) -> list[np.ndarray]:
    """``function`` of the leaves, computed where they lie."""
    if not leaves:
        return []
    device: Any = next(iter(leaves[0].sharding.device_set))
    return jax.device_get(_jit_for_quick_compilation(function, device.platform)(leaves))


@functools.cache
def _jit_for_quick_compilation(function: Callable[..., Any], platform: str) -> Callable[..., Any]:
    return jax.jit(function, compiler_options=run_once_options(platform))


def _sum_words(leaves: list[jax.Array]) -> list[jax.Array]:
    def one(x: jax.Array) -> jax.Array:
        if x.dtype == jnp.bool_:
            x = x.astype(jnp.uint8)
        bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * min(x.dtype.itemsize, 4)}"))
        words = bits.astype(jnp.uint32)
        place = jnp.zeros(words.shape, jnp.uint32)
        for axis, size in enumerate(words.shape):
            place = place * np.uint32(size) + jax.lax.broadcasted_iota(
                jnp.uint32, words.shape, axis
            )
        # Knuth's multiplicative hash of the place, made odd.
        weight = (place * np.uint32(2654435761)) | np.uint32(1)
        return jnp.sum(words * weight, dtype=jnp.uint32)

    return [one(leaf) for leaf in leaves]


def _all_finite(leaves: list[jax.Array]) -> list[jax.Array]:
    return [jnp.isfinite(leaf).all() for leaf in leaves]


def not_finite(tree: Any) -> list[str]:
    """The paths of the leaves that hold a NaN or an infinity."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    inexact = [(p, x) for p, x in leaves if jnp.issubdtype(x.dtype, jnp.inexact)]
    finite = _on_device(_all_finite, [x for _, x in inexact])
    return [
        jax.tree_util.keystr(path)
        for (path, _), good in zip(inexact, finite, strict=True)
        if not good
    ]
