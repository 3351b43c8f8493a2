"""Autoencoders: networks that reconstruct their image through a narrow code.

``dense_autoencoder`` for 28 x 28 x 1 (Hinton and Salakhutdinov, Science 2006):

| stage | layers | output |
| --- | --- | --- |
| stem | flattens | 784 |
| stage1, stage2, stage3 | dense, sigmoid | 1000, 500, 250 |
| stage4 | dense: the code | 30 |
| up1, up2, up3 | dense, the kernel of stage4, stage3, stage2 transposed, sigmoid | 250, 500, 1000 |
| up4 | dense, the kernel of stage1 transposed | 784 |
| head | back to the shape of the image | 28 x 28 x 1 |

``conv_autoencoder`` for 32 x 32 x 1:

| stage | layers | output |
| --- | --- | --- |
| stem | 4 x 4 convolution with stride 2, ReLU | 16 x 16 x 16 |
| stage1, stage2 | the same | 8 x 8 x 32, 4 x 4 x 64 |
| up1, up2 | transposed 4 x 4 convolution with stride 2, ReLU | 8 x 8 x 32, 16 x 16 x 16 |
| head | the same without ReLU | 32 x 32 x 1 |

With ``code``, stage3 is a dense layer to the code, up1 one back to 4 x 4 x 64, and up2 and up3 take
the places of up1 and up2.

What the decoder has to know of the encoder travels along the row of stages in a tuple after the
activations: the size of the image as the shape of an array [N, H, W, 0], tied kernels as they are.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
from jax import numpy as jnp

from cnnlab.models.activations import activation as activation_of
from cnnlab.models.layers import Conv, ConvTranspose, Dense
from cnnlab.models.network import Network
from cnnlab.models.norms import Kind
from cnnlab.models.norms import norm as norm_of
from cnnlab.models.part import Part

Kernels = tuple[jax.Array, ...]


class ConvDown(Part):
    """A convolution with stride 2: ``[N, H, W, C] -> [N, H/2, W/2, features]``.

    Attributes:
      features: maps of the output.
      norm: a kind of normalisation; the convolution has a bias without one.
      activation: a kind of activation.
      multiple: what the height and width have to be multiples of, if this is the first of a row.
      dtype: of the computation.
    """

    features: int
    norm: Kind
    activation: str
    multiple: int = 2
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        if x.shape[1] % self.multiple or x.shape[2] % self.multiple:
            fitting = tuple(-(-size // self.multiple) * self.multiple for size in x.shape[1:3])
            raise ValueError(
                f"images must be a multiple of {self.multiple} pixels high and wide, got "
                f"{x.shape[1]} x {x.shape[2]}. Pad them to {fitting[0]} x {fitting[1]}, or take "
                "fewer widths."
            )
        bias = self.norm == "none"
        conv = Conv(self.features, 4, 2, 1, use_bias=bias, dtype=self.dtype, name="conv")
        normalize = norm_of(self.norm, dtype=self.dtype, name="norm")
        x = normalize(conv(x), self.trains("norm", train))
        return activation_of(self.activation)(x)


class ConvUp(Part):
    """A transposed convolution with stride 2: ``[N, H, W, C] -> [N, 2 H, 2 W, features]``."""

    features: int
    norm: Kind
    activation: str
    last: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class; float32 from the last one."""
        bias = self.norm == "none"
        conv = ConvTranspose(self.features, 4, 2, 1, use_bias=bias, dtype=self.dtype, name="conv")
        normalize = norm_of(self.norm, dtype=self.dtype, name="norm")
        y = normalize(conv(x), self.trains("norm", train))
        y = y.astype(jnp.promote_types(jnp.float32, x.dtype)) if self.last else y
        return activation_of(self.activation)(y)


class ToCode(nn.Module):
    """A dense layer to the code: ``[N, h, w, C]`` to ``([N, code], [N, h, w, 0])``."""

    code: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """See the class."""
        del train
        flat = x.reshape(x.shape[0], -1)
        return Dense(self.code, dtype=self.dtype, name="dense")(flat), x[..., :0]


class FromCode(nn.Module):
    """A dense layer from the code: ``([N, code], [N, h, w, 0])`` to ``[N, h, w, features]``."""

    features: int
    activation: str
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, inputs: tuple[jax.Array, jax.Array], *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        x, like = inputs
        height, width = like.shape[1:3]
        dense = Dense(height * width * self.features, dtype=self.dtype, name="dense")
        x = activation_of(self.activation)(dense(x))
        return x.reshape(-1, height, width, self.features)


def conv_autoencoder(
    channels: int = 1,
    *,
    widths: Sequence[int] = (16, 32, 64),
    code: int | None = None,
    norm: Kind = "none",
    activation: str = "relu",
    output: str = "identity",
    dtype: jnp.dtype | None = None,
) -> Network:
    """A convolutional autoencoder: images [N, H, W, channels] to float32 of the same shape.

    Every stage of the encoder halves the size: H and W must be multiples of 2^len(widths). Windows
    of 4 x 4 with stride 2 overlap evenly, so that the decoder leaves no chequered pattern.

    Args:
      channels: of the images (in ``models.create`` in the place of the number of classes).
      widths: maps of the encoder's stages; the decoder has the same in turn.
      code: numbers in the code, from a dense layer without activation: the network is then made for
        one size of images. None leaves the maps of the last stage as the code.
      norm: a kind of :func:`cnnlab.models.norms.norm`, in front of the activations between.
      activation: a kind of :func:`cnnlab.models.activations.activation`.
      output: the activation of the output: "identity", or "sigmoid" for images from 0 to 1.
      dtype: of the computation; parameters stay float32.

    Raises:
      ValueError: for an option that is unknown or out of range.

    Source: Masci et al., Stacked Convolutional Auto-Encoders, ICANN 2011, the idea; strides and
    transposed convolutions for its pooling and unpooling.
    """
    _check(channels=channels, widths=widths, codes=() if code is None else (code,))
    for kind in (activation, output):
        activation_of(kind)
    norm_of(norm)
    encoder: list[nn.Module] = [ConvDown(widths[0], norm, activation, 2 ** len(widths), dtype)]
    encoder += [ConvDown(width, norm, activation, dtype=dtype) for width in widths[1:]]
    decoder: list[nn.Module] = [
        ConvUp(width, norm, activation, dtype=dtype) for width in reversed(widths[:-1])
    ]
    if code is not None:
        encoder.append(ToCode(code, dtype))
        decoder.insert(0, FromCode(widths[-1], activation, dtype))
    return _row(encoder, decoder, ConvUp(channels, "none", output, last=True, dtype=dtype))


class Flat(nn.Module):
    """Images [N, H, W, channels] to ``([N, D], [N, H, W, 0], ())``."""

    channels: int

    @nn.compact
    def __call__(
        self, x: jax.Array, *, train: bool = False
    ) -> tuple[jax.Array, jax.Array, Kernels]:
        """See the class."""
        del train
        if x.ndim != 4 or x.shape[3] != self.channels:
            raise ValueError(
                f"images must be [N, H, W, {self.channels}], got shape {x.shape}. Make the "
                "autoencoder with the number of channels that the images have."
            )
        return x.reshape(x.shape[0], -1), x[..., :0], ()


class DenseDown(nn.Module):
    """A dense layer: ``(x, like, kernels)`` to ``(y, like, (*kernels, its own if tied))``."""

    features: int
    activation: str
    tied: bool
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(
        self, inputs: tuple[jax.Array, jax.Array, Kernels], *, train: bool = False
    ) -> tuple[jax.Array, jax.Array, Kernels]:
        """See the class."""
        del train
        x, like, kernels = inputs
        dense = Dense(self.features, dtype=self.dtype, name="dense")
        y = activation_of(self.activation)(dense(x))
        if self.tied:
            kernels = (*kernels, dense.get_variable("params", "kernel"))
        return y, like, kernels


class TransposedDense(nn.Module):
    """A dense layer with the kernel of another, turned round, and a ``bias`` of its own."""

    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        """``x`` [..., F] and the kernel [D, F] of a layer from D to F: [..., D]."""
        bias = self.param("bias", nn.initializers.zeros, kernel.shape[:1], jnp.float32)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        return x @ kernel.T + bias


class DenseUp(nn.Module):
    """The layer that leads back: ``(x, like, (*kernels, kernel))`` to ``(y, like, kernels)``.

    Attributes:
      features: of the output where no kernel came along; None for as many as the image has numbers.
      channels: of the image.
      activation: a kind of activation.
      tied: whether the last of the kernels is used, or one of its own.
      dtype: of the computation.
    """

    features: int | None
    channels: int
    activation: str
    tied: bool
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(
        self, inputs: tuple[jax.Array, jax.Array, Kernels], *, train: bool = False
    ) -> tuple[jax.Array, jax.Array, Kernels]:
        """See the class."""
        del train
        x, like, kernels = inputs
        if self.tied:
            y = TransposedDense(self.dtype, name="dense")(x, kernels[-1])
        else:
            features = self.features or like.shape[1] * like.shape[2] * self.channels
            y = Dense(features, dtype=self.dtype, name="dense")(x)
        return activation_of(self.activation)(y), like, kernels[:-1]


class Image(nn.Module):
    """``([N, D], [N, H, W, 0], ())`` to float32 images [N, H, W, channels]."""

    channels: int
    activation: str

    @nn.compact
    def __call__(
        self, inputs: tuple[jax.Array, jax.Array, Kernels], *, train: bool = False
    ) -> jax.Array:
        """See the class."""
        del train
        x, like, _ = inputs
        x = x.astype(jnp.promote_types(jnp.float32, x.dtype))
        return activation_of(self.activation)(x).reshape(-1, *like.shape[1:3], self.channels)


def dense_autoencoder(
    channels: int = 1,
    *,
    widths: Sequence[int] = (1000, 500, 250, 30),
    tied: bool = True,
    activation: str = "sigmoid",
    output: str = "identity",
    dtype: jnp.dtype | None = None,
) -> Network:
    """The deep autoencoder: images [N, H, W, channels] to float32 of the same shape.

    1,420,814 parameters for 28 x 28 x 1 if tied, 2,837,314 if not. The code is linear.

    Args:
      channels: of the images (in ``models.create`` in the place of the number of classes).
      widths: units of the encoder's layers; the last is the code.
      tied: whether the decoder's kernels are those of the encoder, transposed. The paper lets them
        part while fine-tuning: :func:`untie` gives the variables to go on with.
      activation: of all layers but the code and the last.
      output: the activation of the output: "identity" (with "sigmoid" in the loss for images from
        0 to 1, as in the paper: its logits), or "sigmoid".
      dtype: of the computation; parameters stay float32.

    Raises:
      ValueError: for an option that is unknown or out of range.

    Source: Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks,
    Science 2006.
    """
    _check(channels=channels, widths=widths)
    for kind in (activation, output):
        activation_of(kind)
    between = [activation] * (len(widths) - 1) + [
        "identity"
    ]  # the code; what the output is made of
    encoder = [
        DenseDown(width, kind, tied, dtype) for width, kind in zip(widths, between, strict=True)
    ]
    decoder = [
        DenseUp(width, channels, kind, tied, dtype)
        for width, kind in zip([*reversed(widths[:-1]), None], between, strict=True)
    ]
    return _row([Flat(channels), *encoder], decoder, Image(channels, output))


def untie(params: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a tied autoencoder as those of an untied one that computes the same.

    Args:
      params: of ``dense_autoencoder(tied=True)``.

    Returns:
      Those of ``dense_autoencoder(tied=False)`` with the same widths.
    """
    depth = sum(name.startswith("up") for name in params)
    untied = dict(params)
    for index in range(1, depth + 1):
        kernel = params[f"stage{depth + 1 - index}"]["dense"]["kernel"].T
        untied[f"up{index}"] = {"dense": {**params[f"up{index}"]["dense"], "kernel": kernel}}
    return untied


def _row(encoder: Sequence[nn.Module], decoder: Sequence[nn.Module], head: nn.Module) -> Network:
    stages = [(f"stage{i}" if i else "stem", stage) for i, stage in enumerate(encoder)]
    ups = [(f"up{i}", stage) for i, stage in enumerate(decoder, start=1)]
    return Network((*stages, *ups, ("head", head)))


def _check(channels: int, widths: Sequence[int], codes: Sequence[int] = ()) -> None:
    if channels < 1 or not widths or min(*widths, *codes, 1) < 1:
        raise ValueError(
            f"channels, code and at least one of widths must be >= 1, got channels={channels}, "
            f"widths={tuple(widths)}, code={codes[0] if codes else None}."
        )
