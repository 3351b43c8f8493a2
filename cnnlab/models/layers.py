"""Layers with a kernel: convolution, transposed convolution and dense, with Flax's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from cnnlab.models.convolution import Padding, convolve, convolve_transposed, pair

Initializer = Callable[..., Any]


class Conv(nn.Module):
    """A convolution with a kernel, and a bias where ``use_bias``, of its own.

    Maps [N, H, W, C] to [N, H', W', features]. Parameters (float32): ``kernel`` [kh, kw,
    C / groups, features] and ``bias`` [features].

    Attributes:
      features: channels of the output, > 0.
      kernel_size: height and width of the kernel, or one number for both.
      strides: steps down and across, or one number for both.
      padding: "SAME", "VALID", the zeros on every side, or ``((top, bottom), (left, right))``.
        A ``"SAME"`` of stride 2 is not the padding of 1 that PyTorch's networks use.
      use_bias: whether a bias is added.
      groups: how many parts the channels are cut into.
      kernel_init: He's normal initialiser (He et al., Delving Deep into Rectifiers, 2015).
      bias_init: zeros.
      dtype: dtype of the computation; that of the input and parameters together where None.
      param_dtype: dtype of the parameters.
    """

    features: int
    kernel_size: int | Sequence[int] = (3, 3)
    strides: int | Sequence[int] = 1
    padding: Padding = "SAME"
    use_bias: bool = True
    groups: int = 1
    kernel_init: Initializer = nn.initializers.he_normal()
    bias_init: Initializer = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Convolves ``x`` [N, H, W, C].

        Raises:
          ValueError: if ``x`` has not four axes, its channels do not divide into ``groups``, or
            they are not those of its kernel.
          TooSmallError: if the kernel does not fit into the images.
        """
        if x.ndim != 4 or x.shape[3] % self.groups:
            raise ValueError(
                f"images must be [N, H, W, C] with C a multiple of groups={self.groups}, got shape "
                f"{x.shape}. Add the missing axes or change groups."
            )
        window = pair(self.kernel_size, "kernel_size")
        shape = (*window, x.shape[3] // self.groups, self.features)
        x, kernel, bias = _with_weights(self, x, shape, 2)
        y = convolve(x, kernel, self.strides, self.padding, self.groups)
        return y if bias is None else y + bias


class ConvTranspose(nn.Module):
    """A transposed convolution: the gradient of a convolution with respect to its images.

    Maps [N, H, W, C] to [N, H', W', features] with H' = (H - 1) * stride - 2 * padding + kernel +
    output_padding. Parameters (float32): ``kernel`` [kh, kw, C, features] and ``bias`` [features].
    Every value of the input is multiplied by the whole kernel and added to the output around it, as
    in PyTorch (whose weight is [C, features, kh, kw]); Flax's own turns the kernel by 180 degrees.

    Attributes:
      features: channels of the output, > 0.
      kernel_size: height and width of the kernel, or one number for both.
      strides: how far apart neighbours of the input lie in the output.
      padding: rows and columns that are cut off on every side.
      output_padding: rows and columns added at the bottom and right, less than the stride: a
        convolution with a stride maps several sizes to one, this chooses one.
      use_bias: whether a bias is added.
      kernel_init: He's normal initialiser with jax's fan, which does not know of the stride: the
        output keeps 1 / stride² of the variance. ``init.create("he")`` keeps all of it.
      bias_init: zeros.
      dtype: dtype of the computation; that of the input and parameters together where None.
      param_dtype: dtype of the parameters.

    Source: Dumoulin and Visin, A guide to convolution arithmetic, 2016, chapter 4.
    """

    features: int
    kernel_size: int | Sequence[int] = (2, 2)
    strides: int | Sequence[int] = 2
    padding: int = 0
    output_padding: int = 0
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.he_normal()
    bias_init: Initializer = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Spreads ``x`` [N, H, W, C].

        Raises:
          ValueError: if ``x`` has not four axes, or not the channels of its kernel.
          TooSmallError: if the padding cuts everything off.
        """
        if x.ndim != 4:
            raise ValueError(f"images must be [N, H, W, C], got shape {x.shape}. Add the axes.")
        shape = (*pair(self.kernel_size, "kernel_size"), x.shape[3], self.features)
        x, kernel, bias = _with_weights(self, x, shape, 2)
        y = convolve_transposed(x, kernel, self.strides, self.padding, self.output_padding)
        return y if bias is None else y + bias


class Dense(nn.Module):
    """A dense layer: [..., D] to [..., features].

    Parameters (float32): ``kernel`` [D, features] and ``bias`` [features].

    Attributes:
      features: units, > 0.
      use_bias: whether a bias is added.
      kernel_init: LeCun's normal initialiser.
      bias_init: zeros.
      dtype: dtype of the computation; that of the input and parameters together where None.
      param_dtype: dtype of the parameters.
    """

    features: int
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    bias_init: Initializer = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Multiplies ``x`` [..., D] by the kernel.

        Raises:
          ValueError: if D is not that of its kernel.
        """
        shape = (x.shape[-1], self.features)
        x, kernel, bias = _with_weights(self, x, shape, 0)
        y = lax.dot_general(x, kernel, (((x.ndim - 1,), (0,)), ((), ())))
        return y if bias is None else y + bias


def _with_weights(
    layer: Conv | ConvTranspose | Dense, x: jax.Array, shape: tuple[int, ...], axis: int
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """The input, the layer's kernel of this shape and its bias, all of the computation's dtype.

    ``axis`` is that of the kernel which the input's channels meet.
    """
    _check_kernel(layer, shape, axis, x.shape)
    kernel = layer.param("kernel", layer.kernel_init, shape, layer.param_dtype)
    bias = None
    if layer.use_bias:
        bias = layer.param("bias", layer.bias_init, (layer.features,), layer.param_dtype)
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=layer.dtype)
    return x, kernel, bias


def _check_kernel(
    layer: nn.Module, shape: tuple[int, ...], axis: int, input_shape: tuple[int, ...]
) -> None:
    """Raises a ValueError where the kernel was made for other inputs."""
    if not layer.has_variable("params", "kernel"):
        return
    kernel: jax.Array = layer.get_variable("params", "kernel")
    if kernel.shape != shape:
        path = "/".join(layer.path) or type(layer).__name__
        made = kernel.shape[axis] * getattr(layer, "groups", 1)
        what = "channels" if len(shape) == 4 else "inputs"
        raise ValueError(
            f"{path} was made for {made} {what}, with a kernel {kernel.shape}; got "
            f"an input {input_shape}, which needs a kernel {shape}. Give images of the size and "
            "channels that the network was made with, or initialise it anew."
        )
