"""Grouped convolutions, with gradients that a CPU runs quickly: see ``convolution``.

XLA's gradient of a grouped kernel is the slowest of all inside a loop. Here, on the CPU, both
gradients are plain grouped convolutions; and a depthwise convolution, every channel with a kernel
of its own, is a sum over the places of its window, forward and backward: a product of whole arrays
for each place.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from cnnlab.models.fusion import apart

Pads = tuple[tuple[int, int], tuple[int, int]]
Steps = tuple[int, int]

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_PLACES = 49  # of a window; more than 7 x 7 are left to the usual way


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def convolve_groups(
    x: jax.Array, kernel: jax.Array, strides: Steps, pads: Pads, groups: int
) -> jax.Array:
    """Images [N, H, W, C] with a kernel [kh, kw, C / groups, F]: [N, H', W', F]."""
    usual = functools.partial(_usual, strides, pads, groups)
    if not _is_depthwise(kernel, groups):
        return usual(x, kernel)
    places = functools.partial(_over_places, strides, pads)
    return lax.platform_dependent(x, kernel, cpu=places, default=usual)


def _fwd(
    x: jax.Array, kernel: jax.Array, strides: Steps, pads: Pads, groups: int
) -> tuple[jax.Array, Any]:
    return convolve_groups(x, kernel, strides, pads, groups), (x, kernel)


def _bwd(
    strides: Steps, pads: Pads, groups: int, residuals: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals

    def usual(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Any:
        return jax.vjp(functools.partial(_usual, strides, pads, groups), x, kernel)[1](dy)

    def plain(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> Any:
        dx = _images_gradient(strides, pads, groups, x, kernel, dy)
        return dx, _kernel_gradient(strides, pads, groups, x, kernel, dy)

    return lax.platform_dependent(x, kernel, dy, cpu=plain, default=usual)


convolve_groups.defvjp(_fwd, _bwd)


def _usual(strides: Steps, pads: Pads, groups: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, strides, pads, dimension_numbers=_LAYOUT, feature_group_count=groups
    )


def _images_gradient(
    strides: Steps, pads: Pads, groups: int, x: jax.Array, kernel: jax.Array, dy: jax.Array
) -> jax.Array:
    """``dy``, spread by the stride, convolved with the kernel turned by 180 degrees.

    Within each group its channels are swapped.
    """
    rows, columns, channels, features = kernel.shape
    spread = [(dy.shape[1 + i] - 1) * strides[i] + 1 for i in range(2)]
    low = [kernel.shape[i] - 1 - pads[i][0] for i in range(2)]
    high = [x.shape[1 + i] - spread[i] + kernel.shape[i] - 1 - low[i] for i in range(2)]
    turned = kernel[::-1, ::-1].reshape(rows, columns, channels, groups, features // groups)
    turned = turned.transpose(0, 1, 4, 3, 2).reshape(rows, columns, features // groups, -1)
    edges: Pads = ((low[0], high[0]), (low[1], high[1]))
    if _is_depthwise(kernel, groups):
        between = [(*edges[i], strides[i] - 1) for i in range(2)]
        wide = lax.pad(dy, jnp.zeros((), dy.dtype), ((0, 0, 0), *between, (0, 0, 0)))
        return _over_places((1, 1), ((0, 0), (0, 0)), wide, turned)
    return lax.conv_general_dilated(
        dy,
        turned,
        (1, 1),
        edges,
        lhs_dilation=strides,
        dimension_numbers=_LAYOUT,
        feature_group_count=groups,
    )


def _kernel_gradient(
    strides: Steps, pads: Pads, groups: int, x: jax.Array, kernel: jax.Array, dy: jax.Array
) -> jax.Array:
    """In every group, the images convolved with ``dy``, batch and channels exchanged."""
    rows, columns, channels, _ = kernel.shape
    if _is_depthwise(kernel, groups):
        wide = dy.astype(_at_least_float32(dy))
        sums = [
            jnp.sum(window * wide, axis=(0, 1, 2))
            for window in _windows(x, (rows, columns), strides, pads)
        ]
        return jnp.stack(sums).reshape(kernel.shape).astype(kernel.dtype)
    n, height, width, _ = x.shape
    spread = [(dy.shape[1 + i] - 1) * strides[i] + 1 for i in range(2)]
    high = [kernel.shape[i] - 1 + spread[i] - x.shape[1 + i] - pads[i][0] for i in range(2)]

    def exchanged(x: jax.Array, dy: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = x.reshape(n, height, width, groups, channels).transpose(4, 1, 2, 3, 0)
        return x.reshape(channels, height, width, groups * n), dy.transpose(1, 2, 0, 3)

    batch, window = apart(exchanged, x, dy)
    dkernel = lax.conv_general_dilated(
        batch,
        window,
        (1, 1),
        ((pads[0][0], high[0]), (pads[1][0], high[1])),
        rhs_dilation=strides,
        dimension_numbers=_LAYOUT,
        feature_group_count=groups,
    )
    return dkernel.transpose(1, 2, 0, 3)


def _is_depthwise(kernel: jax.Array, groups: int) -> bool:
    """True where each channel has one kernel, and that is small."""
    rows, columns, channels, features = kernel.shape
    return channels == 1 and features == groups and rows * columns <= _PLACES


def _over_places(strides: Steps, pads: Pads, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The depthwise convolution: for each place of the window, its pixels times their weight."""
    rows, columns, _, features = kernel.shape
    weights = kernel.reshape(rows * columns, features)
    windows = _windows(x, (rows, columns), strides, pads)
    total = sum(window * weight for window, weight in zip(windows, weights, strict=True))
    return jnp.asarray(total).astype(x.dtype)


def _windows(x: jax.Array, window: Steps, strides: Steps, pads: Pads) -> Iterator[jax.Array]:
    """For each place of a window, row by row, the pixels under it: [N, H', W', C]."""
    x = jnp.pad(x.astype(_at_least_float32(x)), ((0, 0), *pads, (0, 0)))
    last = [(x.shape[1 + i] - window[i]) // strides[i] * strides[i] for i in range(2)]
    for row in range(window[0]):
        for column in range(window[1]):
            stop = (x.shape[0], row + last[0] + 1, column + last[1] + 1, x.shape[3])
            yield lax.slice(x, (0, row, column, 0), stop, (1, *strides, 1))


def _at_least_float32(x: jax.Array) -> Any:
    return jnp.promote_types(x.dtype, jnp.float32)
