"""Pooling over windows and over whole images, [N, H, W, C], with gradients quick on a CPU."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from cnnlab.models.convolution import Padding, Pads, check_room, explicit_padding, pair
from cnnlab.models.fusion import apart


def max_pool(
    x: jax.Array,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: Padding = "VALID",
    *,
    ceil: bool = False,
) -> jax.Array:
    """The largest value in every window.

    Its gradient goes to one value of the window, the first of the largest in reading order.

    Args:
      x: images [N, H, W, C].
      window: height and width, or one number for both.
      strides: steps down and across; those of the window where None.
      padding: as for a convolution, but less than the window; what is added is never the largest.
      ceil: whether the output's size is rounded up, as Caffe does: a window may then stand over the
        edge, but never begin after it.

    Returns:
      [N, H', W', C].

    Raises:
      ValueError: if the window, the strides or the padding do not fit.
      TooSmallError: if no window fits into the images.
    """
    window, strides, pads = _pooling(x, window, strides, padding, ceil)
    if any(max(pads[i]) >= window[i] for i in range(2)):  # a window of padding alone has no largest
        raise ValueError(f"the padding must be less than the window {window}, got {padding!r}.")
    if _tiles(window, strides, pads):
        return _largest_of_tiles(_cut_into_windows(x, window))
    return nn.max_pool(x, window, strides, pads)


def average_pool(
    x: jax.Array,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None = None,
    padding: Padding = "VALID",
) -> jax.Array:
    """The mean of every window, in which padding counts as zeros.

    Takes and returns what :func:`max_pool` does, but for ``ceil``.
    """
    window, strides, pads = _pooling(x, window, strides, padding)
    if _tiles(window, strides, pads):
        return _cut_into_windows(x, window).mean((2, 4))
    return nn.avg_pool(x, window, strides, pads)


def global_average_pool(x: jax.Array) -> jax.Array:
    """The mean of every channel: [N, H, W, C] to [N, C]."""
    return x.mean((1, 2))


def _pooling(
    x: jax.Array,
    window: int | Sequence[int],
    strides: int | Sequence[int] | None,
    padding: Padding,
    ceil: bool = False,
) -> tuple[tuple[int, int], tuple[int, int], Pads]:
    if x.ndim != 4:
        raise ValueError(f"images must be [N, H, W, C], got shape {x.shape}. Add the missing axes.")
    size = pair(window, "window")
    steps = size if strides is None else pair(strides, "strides")
    pads = explicit_padding(padding, x.shape[1:3], size, steps)
    if ceil:
        pads = _ceil_padding(x.shape[1:3], size, steps, pads)
    check_room(x.shape[1:3], size, pads)
    return size, steps, pads


def _ceil_padding(
    size: Sequence[int], window: Sequence[int], strides: Sequence[int], pads: Pads
) -> Pads:
    """Padding with what the last window needs after the edge, if it begins before it."""
    grown = []
    for length, kernel, step, (low, high) in zip(size, window, strides, pads, strict=True):
        rest = (length + low + high - kernel) % step
        last = length + low + high - kernel - rest + step  # where a further window would begin
        grown.append((low, high + step - rest if rest and last < length + low else high))
    return grown[0], grown[1]


def _tiles(window: tuple[int, int], strides: tuple[int, int], pads: Pads) -> bool:
    """True where the windows lie side by side: no overlap, no gap, no padding."""
    return window == strides and pads == ((0, 0), (0, 0))


def _cut_into_windows(x: jax.Array, window: tuple[int, int]) -> jax.Array:
    """Images cut into windows: [N, H', window, W', window, C]; what is left over is dropped."""
    n, height, width, channels = x.shape
    rows, columns = height // window[0], width // window[1]
    x = x[:, : rows * window[0], : columns * window[1]]
    return x.reshape(n, rows, window[0], columns, window[1], channels)


@jax.custom_vjp
def _largest_of_tiles(tiles: jax.Array) -> jax.Array:
    """[N, H', kh, W', kw, C] to [N, H', W', C], with the gradient that :func:`max_pool` promises.

    The gradient of XLA's own reduction over windows is a scatter, which a CPU runs slowly.
    """
    return functools.reduce(jnp.maximum, _members(tiles))


def _members(tiles: jax.Array) -> list[jax.Array]:
    """The values at every place of a window, in reading order: [N, H', W', C] each."""
    return [tiles[:, :, i, :, j] for i in range(tiles.shape[2]) for j in range(tiles.shape[4])]


def _largest_fwd(tiles: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    largest = _largest_of_tiles(tiles)
    return largest, (tiles, largest)


def _largest_bwd(residuals: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array]:
    tiles, largest = residuals
    members = _members(tiles)
    first = jnp.full(dy.shape, len(members) - 1, jnp.int32)
    for place in reversed(range(len(members) - 1)):
        first = jnp.where(members[place] >= largest, place, first)
    first = lax.platform_dependent(
        first, cpu=lambda first: apart(lambda value: value, first), default=lambda first: first
    )
    kh, kw = tiles.shape[2], tiles.shape[4]
    places = jnp.arange(kh * kw).reshape(kh, 1, kw, 1)
    chosen = first[:, :, None, :, None] == places
    return (jnp.where(chosen, dy[:, :, None, :, None], 0),)


_largest_of_tiles.defvjp(_largest_fwd, _largest_bwd)
