"""Convolution of images, with gradients that a CPU runs quickly.

XLA rewrites the usual gradients of a convolution into forms that its CPU back end knows only
outside loops: inside ``scan``, ``fori_loop`` or ``lax.map`` they fall to a naive one, a hundred
times slower. Here both gradients are, on the CPU, plain NHWC/HWIO convolutions themselves; and
where channels are few and rows short, a convolution runs over whole rows. Elsewhere everything is
as XLA has it. Gradients are for reverse mode, of any order. ``grouped_convolution`` does the same
for groups of channels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from cnnlab.models.fusion import apart
from cnnlab.models.grouped_convolution import Pads, convolve_groups
from cnnlab.varying import alike

Padding = str | int | Sequence[tuple[int, int]]

_LAYOUT = ("NHWC", "HWIO", "NHWC")


class TooSmallError(ValueError):
    """Images so small that a layer has no output. ``Network`` adds in which stage."""


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    strides: int | Sequence[int] = (1, 1),
    padding: Padding = "SAME",
    groups: int = 1,
) -> jax.Array:
    """Convolves images with a kernel (a cross-correlation, as everywhere in the field).

    Args:
      x: images [N, H, W, C].
      kernel: [kh, kw, C / groups, F], of the dtype of ``x``.
      strides: the steps down and across, or one for both.
      padding: "SAME" (an output of ceil(H / stride)), "VALID" (none), the rows and columns of zeros
        on every side, or ``((top, bottom), (left, right))``.
      groups: how many parts the channels are cut into; both C and F are multiples of it.

    Returns:
      [N, H', W', F].

    Raises:
      ValueError: if shapes, dtypes, strides or padding do not fit.
      TooSmallError: if the kernel does not fit into the padded images.
    """
    if x.ndim != 4 or kernel.ndim != 4:
        raise ValueError(
            f"images must be [N, H, W, C] and the kernel [kh, kw, C / groups, F], got shapes "
            f"{x.shape} and {kernel.shape}. Add the missing axes."
        )
    if x.dtype != kernel.dtype:
        raise ValueError(
            f"images and kernel must have one dtype, got {x.dtype} and {kernel.dtype}. Cast one."
        )
    if x.shape[3] != kernel.shape[2] * groups or kernel.shape[3] % groups:
        raise ValueError(
            f"a kernel [kh, kw, C / {groups}, F] with F a multiple of {groups} must fit images of "
            f"{x.shape[3]} channels, got {kernel.shape}. Change the kernel or groups={groups}."
        )
    steps = pair(strides, "strides")
    pads = explicit_padding(padding, x.shape[1:3], kernel.shape[:2], steps)
    check_room(x.shape[1:3], kernel.shape[:2], pads)
    x, kernel = alike(x, kernel)
    if groups > 1:
        return convolve_groups(x, kernel, steps, pads, groups)
    return _convolve(x, kernel, steps, pads)


def convolve_transposed(
    x: jax.Array,
    kernel: jax.Array,
    strides: int | Sequence[int] = 1,
    padding: int = 0,
    output_padding: int = 0,
) -> jax.Array:
    """The gradient of a convolution with respect to its images, as a layer of its own.

    Args:
      x: images [N, H, W, C].
      kernel: [kh, kw, C, F], of the dtype of ``x``: that of a convolution from F to C channels, its
        last axes exchanged.
      strides: of that convolution.
      padding: of that convolution, on every side.
      output_padding: which of the sizes that it maps to H: 0 is the smallest; less than both
        strides.

    Returns:
      [N, H', W', F] with H' = (H - 1) * stride - 2 * padding + kh + output_padding.

    Raises:
      ValueError: if shapes, dtypes, strides or padding do not fit.
      TooSmallError: if the padding cuts everything off.
    """
    steps = pair(strides, "strides")
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[2]:
        raise ValueError(
            f"images must be [N, H, W, C] and the kernel [kh, kw, C, F], got shapes {x.shape} and "
            f"{kernel.shape}."
        )
    if x.dtype != kernel.dtype:
        raise ValueError(
            f"images and kernel must have one dtype, got {x.dtype} and {kernel.dtype}. Cast one."
        )
    if padding < 0 or not 0 <= output_padding < min(steps):
        raise ValueError(
            f"padding must be >= 0 and output_padding in [0, {min(steps)}), less than the stride; "
            f"got {padding} and {output_padding}."
        )
    size = tuple(
        (x.shape[1 + i] - 1) * steps[i] - 2 * padding + kernel.shape[i] + output_padding
        for i in range(2)
    )
    if min(size) < 1:
        raise TooSmallError(f"{x.shape[1]} x {x.shape[2]} pixels less a padding of {padding}")
    pads = ((padding, padding), (padding, padding))
    x, kernel = alike(x, kernel)
    return _transposed(x, kernel.swapaxes(2, 3), steps, pads, (size[0], size[1]))


def check_room(size: Sequence[int], window: Sequence[int], pads: Pads) -> None:
    """Refuses images into which not one window fits."""
    if any(size[i] < 1 or size[i] + sum(pads[i]) < window[i] for i in range(2)):
        raise TooSmallError(
            f"{size[0]} x {size[1]} pixels with a padding of {pads} and a window of "
            f"{window[0]} x {window[1]}"
        )


def pair(value: int | Sequence[int], name: str) -> tuple[int, int]:
    """One positive number for both directions, or one for each.

    Raises:
      ValueError: if it is neither.
    """
    both = (value, value) if isinstance(value, int) else tuple(value)
    if len(both) != 2 or not all(isinstance(part, int) and part > 0 for part in both):
        raise ValueError(f"{name} must be a number > 0 or two of them, got {value!r}.")
    return both[0], both[1]


def explicit_padding(
    padding: Padding, size: Sequence[int], window: Sequence[int], strides: Sequence[int]
) -> Pads:
    """Rows and columns of padding as ``((top, bottom), (left, right))``.

    Raises:
      ValueError: if ``padding`` is none of the forms that :func:`convolve` takes.
    """
    if isinstance(padding, str):
        if padding not in ("SAME", "VALID"):
            raise ValueError(f'padding must be "SAME", "VALID" or numbers, got {padding!r}.')
        pads: list[tuple[int, ...]] = list(lax.padtype_to_pads(size, window, strides, padding))
    elif isinstance(padding, int):
        pads = [(padding, padding)] * 2
    else:
        pads = [tuple(side) for side in padding]
    if len(pads) != 2 or any(len(side) != 2 or min(side) < 0 for side in pads):
        raise ValueError(
            f"padding must be a number >= 0 or ((top, bottom), (left, right)), got {padding!r}."
        )
    (top, bottom), (left, right) = pads
    return (int(top), int(bottom)), (int(left), int(right))


def _forward(x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Pads) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=_LAYOUT)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Pads) -> jax.Array:
    return _platform_forward(x, kernel, strides, pads)


def _convolve_fwd(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Pads
) -> tuple[jax.Array, Any]:
    return _platform_forward(x, kernel, strides, pads), (x, kernel)


def _convolve_bwd(
    strides: tuple[int, int], pads: Pads, residuals: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The gradients, as the platform that the program is lowered for likes them."""
    x, kernel = residuals
    return lax.platform_dependent(
        x,
        kernel,
        dy,
        cpu=functools.partial(_plain_gradients, strides, pads),
        default=functools.partial(_standard_gradients, strides, pads),
    )


_convolve.defvjp(_convolve_fwd, _convolve_bwd)


def _standard_gradients(
    strides: tuple[int, int], pads: Pads, x: jax.Array, kernel: jax.Array, dy: jax.Array
) -> tuple[jax.Array, jax.Array]:
    _, gradients = jax.vjp(lambda x, kernel: _forward(x, kernel, strides, pads), x, kernel)
    return gradients(dy)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _transposed(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Pads, size: tuple[int, int]
) -> jax.Array:
    """The images' gradient of the convolution with ``kernel``, whose output's gradient is ``x``."""
    images = jax.ShapeDtypeStruct((x.shape[0], *size, kernel.shape[2]), x.dtype)

    def standard(x: jax.Array, kernel: jax.Array) -> jax.Array:
        forward = functools.partial(_forward, kernel=kernel, strides=strides, pads=pads)
        return jax.linear_transpose(forward, images)(x)[0]

    plain = functools.partial(_plain_images_gradient, strides, pads, size)
    return lax.platform_dependent(x, kernel, cpu=plain, default=standard)


def _transposed_fwd(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Pads, size: tuple[int, int]
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _transposed(x, kernel, strides, pads, size), (x, kernel)


def _transposed_bwd(
    strides: tuple[int, int],
    pads: Pads,
    size: tuple[int, int],
    residuals: tuple[jax.Array, jax.Array],
    dy: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    dkernel = _convolve_bwd(strides, pads, (dy, kernel), x)[1]
    return _convolve(dy, kernel, strides, pads), dkernel


_transposed.defvjp(_transposed_fwd, _transposed_bwd)


def _plain_gradients(
    strides: tuple[int, int], pads: Pads, x: jax.Array, kernel: jax.Array, dy: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Both gradients as convolutions in the layout of the forward pass."""
    size, window = (x.shape[1], x.shape[2]), (kernel.shape[0], kernel.shape[1])
    dx = _plain_images_gradient(strides, pads, size, dy, kernel)
    return dx, _plain_kernel_gradient(strides, pads, window, x, dy)


def _plain_images_gradient(
    strides: tuple[int, int], pads: Pads, size: tuple[int, int], dy: jax.Array, kernel: jax.Array
) -> jax.Array:
    """``dy``, rows of zeros between its own to undo the stride, convolved with the turned kernel.

    The kernel is turned by 180 degrees and its channels are swapped.
    """
    window = kernel.shape[:2]
    spread = [(dy.shape[1 + i] - 1) * strides[i] + 1 for i in range(2)]
    low = [window[i] - 1 - pads[i][0] for i in range(2)]
    high = [size[i] - spread[i] + window[i] - 1 - low[i] for i in range(2)]
    edges: Pads = ((low[0], high[0]), (low[1], high[1]))
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    reshaped = _reshaped(dy, turned, strides, edges)
    if reshaped is not None:
        return reshaped(dy, turned)
    return lax.conv_general_dilated(
        dy, turned, (1, 1), edges, lhs_dilation=strides, dimension_numbers=_LAYOUT
    )


def _plain_kernel_gradient(
    strides: tuple[int, int], pads: Pads, window: tuple[int, int], x: jax.Array, dy: jax.Array
) -> jax.Array:
    """The images convolved with ``dy``, the axes of batch and channels exchanged."""
    spread = [(dy.shape[1 + i] - 1) * strides[i] + 1 for i in range(2)]
    high = [window[i] - 1 + spread[i] - x.shape[1 + i] - pads[i][0] for i in range(2)]
    edges: Pads = ((pads[0][0], high[0]), (pads[1][0], high[1]))
    x, dy = apart(lambda x, dy: (x.transpose(3, 1, 2, 0), dy.transpose(1, 2, 0, 3)), x, dy)
    dkernel = lax.conv_general_dilated(
        x, dy, (1, 1), edges, rhs_dilation=strides, dimension_numbers=_LAYOUT
    )
    return dkernel.transpose(1, 2, 0, 3)


def _platform_forward(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Pads
) -> jax.Array:
    usual = functools.partial(_forward, strides=strides, pads=pads)
    reshaped = _reshaped(x, kernel, strides, pads)
    if reshaped is None:
        return usual(x, kernel)
    return lax.platform_dependent(x, kernel, cpu=reshaped, default=usual)


def _reshaped(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Pads
) -> Callable[[jax.Array, jax.Array], jax.Array] | None:
    """The same convolution in a form that is quicker on a CPU where channels are few, or None.

    The usual way copies patches and multiplies them by a matrix of few columns. The other ways copy
    less and multiply by a larger matrix, in part by zeros: the limits are where they met when all
    were measured.
    """
    if strides != (1, 1):
        return None
    width, channels = x.shape[2:]
    columns, features = kernel.shape[1], kernel.shape[3]
    if width * features <= (100 if channels < 4 else 20) * columns:
        return functools.partial(_by_rows, pads)
    together = 4 if channels < 4 else 2
    out = width + sum(pads[1]) - columns + 1
    if channels <= 16 and features <= 16 and out % together == 0:
        return functools.partial(_by_columns, pads, together)
    return None


def _by_rows(pads: Pads, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution as one over rows only, whose channels are the row's pixels and channels.

    A row [W * C] meets a banded matrix [W * C, W' * F] for every row of the kernel. A value that is
    infinite or not a number spoils the whole row of the output, by the zeros beside the band.
    """
    n, height, width, channels = x.shape
    rows, columns, _, features = kernel.shape
    out = width + sum(pads[1]) - columns + 1
    reach = jnp.arange(width)[:, None] - jnp.arange(out) + pads[1][0]
    taps = (reach == jnp.arange(columns)[:, None, None]).astype(kernel.dtype)  # [kw, W, W']
    band = jnp.einsum("ijcf,juw->iucwf", kernel, taps)
    y = lax.conv_general_dilated(
        x.reshape(n, height, 1, width * channels),
        band.reshape(rows, 1, width * channels, out * features),
        (1, 1),
        (pads[0], (0, 0)),
        dimension_numbers=_LAYOUT,
    )
    return y.reshape(n, -1, out, features)


def _by_columns(pads: Pads, together: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The convolution with ``together`` neighbours of a row as the features of one, at a stride."""
    rows, columns, channels, features = kernel.shape
    wide = jnp.stack(
        [
            jnp.pad(kernel, ((0, 0), (place, together - 1 - place), (0, 0), (0, 0)))
            for place in range(together)
        ],
        axis=3,
    ).reshape(rows, columns + together - 1, channels, together * features)
    y = lax.conv_general_dilated(x, wide, (1, together), pads, dimension_numbers=_LAYOUT)
    return y.reshape(*y.shape[:2], y.shape[2] * together, features)
