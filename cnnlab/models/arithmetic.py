"""The arithmetic of convolutions: sizes, receptive fields, costs, and the dense layers after them.

What the layers themselves do not ask for, but who designs a row of them does. The functions of
sizes are for one direction, height or width; a pooling window counts as a kernel. What a whole
network comes to is measured by ``models.summary``. With pictures: docs/convolution.md.

Source: Dumoulin and Visin, A guide to convolution arithmetic for deep learning,
arXiv 1603.07285, 2016.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
from jax import numpy as jnp

from cnnlab.models.convolution import Padding, convolve, explicit_padding, pair


def output_size(
    size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, ceil: bool = False
) -> int:
    """Places that a window takes on a line: ``(size + 2 padding - extent) // stride + 1``.

    The extent of the window is ``dilation * (kernel - 1) + 1``.

    Args:
      size: pixels of the input, >= 1.
      kernel: taps of the window, >= 1.
      stride: pixels from one place to the next, >= 1.
      padding: pixels added on both sides, >= 0.
      dilation: pixels from one tap to the next, >= 1.
      ceil: whether a last window that stands over the end counts too, if it begins before it
        (rounding up, as ``max_pool`` does with ``ceil``).

    Raises:
      ValueError: if a number is too small, or the window does not fit once.
    """
    extent = _extent(kernel, dilation)
    _at_least(1, size=size, stride=stride)
    _at_least(0, padding=padding)
    room = size + 2 * padding - extent
    places = room // stride + 1
    if ceil:
        places = -(-room // stride) + 1
        places -= (places - 1) * stride >= size + padding
    if places < 1:
        raise ValueError(
            f"a window must fit at least once, got one of {extent} pixels for {size} pixels and "
            f"{padding} of padding on both sides. Add padding or take a smaller window."
        )
    return places


def transposed_output_size(
    size: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
) -> int:
    """Pixels that a transposed convolution gives: ``(size - 1) stride - 2 padding + extent + ...``.

    It is the size of an input from which the convolution with the same numbers makes ``size``
    places. There are ``stride`` such sizes: ``output_padding`` chooses one.

    Args:
      size: pixels of the input, >= 1.
      kernel: taps of the window, >= 1.
      stride: of the convolution that is transposed, >= 1.
      padding: of the convolution that is transposed: pixels cut off on both sides, >= 0.
      output_padding: pixels that the convolution leaves over at the end, from 0 to stride - 1.
      dilation: pixels from one tap to the next, >= 1.

    Raises:
      ValueError: if a number is out of its range, or nothing is left.
    """
    extent = _extent(kernel, dilation)
    _at_least(1, size=size, stride=stride)
    _at_least(0, padding=padding)
    if not 0 <= output_padding < stride:
        raise ValueError(
            f"output_padding must be at least 0 and under the stride of {stride}, got "
            f"{output_padding}. A convolution leaves no more than stride - 1 pixels over."
        )
    out = (size - 1) * stride - 2 * padding + extent + output_padding
    if out < 1:
        raise ValueError(
            f"at least one pixel must be left, got {out} of {size} pixels, a window of {extent} "
            f"and padding {padding}. Take less padding."
        )
    return out


def same_padding(kernel: int, dilation: int = 1) -> int:
    """Padding on both sides with which stride 1 keeps the size: ``dilation * (kernel - 1) / 2``.

    Raises:
      ValueError: if that is no whole number: then one side needs a pixel more than the other,
        which ``padding="SAME"`` gives to the right and the bottom.
    """
    extent = _extent(kernel, dilation)
    if extent % 2 == 0:
        raise ValueError(
            f"a window must have a middle for the same padding on both sides, got one of {extent} "
            f'pixels (kernel={kernel}, dilation={dilation}). Use padding="SAME" or an odd kernel.'
        )
    return extent // 2


def receptive_field(layers: Sequence[tuple[int, int] | tuple[int, int, int]]) -> int:
    """Pixels of the input, on a line, that one unit after a row of layers depends on.

    Every layer adds its extent less one, in steps of the pixels that lie between two of its own
    inputs: the product of the strides before it. Without the border, where the field is cut off.

    Args:
      layers: ``(kernel, stride)`` or ``(kernel, stride, dilation)`` in order, convolutions and
        pooling alike.

    Raises:
      ValueError: if a number is below 1.

    Example:
      >>> receptive_field([(3, 1)] * 3)
      7
      >>> receptive_field([(5, 1), (2, 2), (5, 1), (2, 2)])  # LeNet-5 after its second pooling
      16
    """
    field, step = 1, 1
    for kernel, stride, *rest in layers:
        dilation = rest[0] if rest else 1
        _at_least(1, stride=stride)
        field += (_extent(kernel, dilation) - 1) * step
        step *= stride
    return field


def conv_parameters(
    kernel: int | Sequence[int], channels: int, features: int, *, groups: int = 1, bias: bool = True
) -> int:
    """Trainable numbers of a convolution, ``kh kw C / groups F``, and F more for a bias.

    Args:
      kernel: height and width, or one number for both.
      channels: C, of the input.
      features: F, of the output.
      groups: parts that the channels are cut into; both C and F are multiples of it.
      bias: whether there is one.

    Raises:
      ValueError: if a number is too small, or the groups do not divide C and F.
    """
    height, width = pair(kernel, "kernel")
    _at_least(1, channels=channels, features=features, groups=groups)
    if channels % groups or features % groups:
        raise ValueError(
            f"channels and features must be multiples of groups, got {channels} and {features} "
            f"for groups={groups}."
        )
    return height * width * (channels // groups) * features + (features if bias else 0)


def conv_multiply_adds(
    output: int | Sequence[int],
    kernel: int | Sequence[int],
    channels: int,
    features: int,
    *,
    groups: int = 1,
) -> int:
    """Multiply-adds of a convolution for one image: every weight once at each place.

    Those with padding count as well; the addition of a bias does not.

    Args:
      output: height and width of the output, or one number for both.
      kernel: height and width, or one number for both.
      channels: C, of the input.
      features: F, of the output.
      groups: parts that the channels are cut into.

    Raises:
      ValueError: as :func:`conv_parameters`.
    """
    height, width = pair(output, "output")
    weights = conv_parameters(kernel, channels, features, groups=groups, bias=False)
    return height * width * weights


def as_dense(
    kernel: jax.Array,
    image_shape: Sequence[int],
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
) -> jax.Array:
    """The convolution as the matrix of a dense layer between flat images.

    ``convolve(x, kernel, strides, padding)`` is ``x.reshape(N, -1) @ matrix``, reshaped. The
    matrix is zero where output and input are no neighbours, and its other entries are those of
    the kernel, each as often as there are places. Of the order of (H W)^2 numbers: for small
    images.

    Args:
      kernel: [kh, kw, C, F].
      image_shape: ``(H, W, C)`` of the input.
      strides: the steps down and across, or one for both.
      padding: as for :func:`cnnlab.models.convolution.convolve`.

    Returns:
      [H * W * C, H' * W' * F] of the kernel's dtype, in the order of ``reshape``.
    """
    pixels, kernel = _pixels(image_shape), jnp.asarray(kernel)
    each = jnp.eye(pixels, dtype=kernel.dtype).reshape(pixels, *image_shape)
    return convolve(each, kernel, strides, padding).reshape(pixels, -1)


def adjoint(
    y: jax.Array,
    kernel: jax.Array,
    image_shape: Sequence[int],
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
) -> jax.Array:
    """The transposed convolution: what the gradient of a convolution does to images.

    ``<convolve(x), y> = <x, adjoint(y)>`` for all x and y: a product with the transpose of the
    matrix of :func:`as_dense`. ``ConvTranspose`` computes it with a kernel of its own whose
    channels are swapped, [kh, kw, F, C].

    Args:
      y: [N, H', W', F], as the convolution gives it.
      kernel: [kh, kw, C, F], of the convolution.
      image_shape: ``(H, W, C)`` of the input of the convolution.
      strides: of the convolution.
      padding: of the convolution.

    Returns:
      [N, H, W, C].
    """
    _pixels(image_shape)
    y, kernel = jnp.asarray(y), jnp.asarray(kernel)
    zeros = jnp.zeros((y.shape[0], *image_shape), y.dtype)
    _, transposed = jax.vjp(lambda x: convolve(x, kernel, strides, padding), zeros)
    return transposed(y)[0]


class Sharing(NamedTuple):
    """Numbers of a convolution and of the dense layer between the same images, without biases.

    Attributes:
      free: trainable numbers of the convolution.
      connections: pairs of an input and an output that it connects: entries of :func:`as_dense`
        that belong to a weight, ``connections / free`` to one weight on average.
      dense: entries altogether: trainable numbers of the dense layer.
    """

    free: int
    connections: int
    dense: int


def sharing(
    kernel: int | Sequence[int],
    features: int,
    image_shape: Sequence[int],
    strides: int | Sequence[int] = 1,
    padding: Padding = "SAME",
) -> Sharing:
    """Counts how a convolution constrains a dense layer, without making its matrix.

    Args:
      kernel: height and width, or one number for both.
      features: F, of the output.
      image_shape: ``(H, W, C)`` of the input.
      strides: the steps down and across, or one for both.
      padding: as for :func:`as_dense`.
    """
    pixels, channels = _pixels(image_shape), image_shape[2]
    window, steps = pair(kernel, "kernel"), pair(strides, "strides")
    pads = explicit_padding(padding, image_shape[:2], window, steps)
    places = connected = 1
    for size, taps, step, (low, high) in zip(image_shape, window, steps, pads, strict=False):
        out = (size + low + high - taps) // step + 1
        if out < 1:
            raise ValueError(
                f"a window must fit at least once, got one of {taps} pixels for {size} pixels and "
                f"{low} + {high} of padding. Add padding or take a smaller window."
            )
        places *= out
        connected *= sum(
            0 <= place * step - low + tap < size for place in range(out) for tap in range(taps)
        )
    free = conv_parameters(window, channels, features, bias=False)
    return Sharing(free, connected * channels * features, pixels * places * features)


def _extent(kernel: int, dilation: int) -> int:
    _at_least(1, kernel=kernel, dilation=dilation)
    return dilation * (kernel - 1) + 1


def _at_least(least: int, **numbers: int) -> None:
    for name, number in numbers.items():
        if number < least:
            raise ValueError(f"{name} must be at least {least}, got {number}.")


def _pixels(image_shape: Sequence[int]) -> int:
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ValueError(
            f"image_shape must be (H, W, C), got {tuple(image_shape)}. Leave the batch axis out."
        )
    height, width, channels = image_shape
    return height * width * channels
