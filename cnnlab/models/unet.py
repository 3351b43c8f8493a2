"""U-Net: every pixel gets logits, from what is near and what is far (Ronneberger et al., 2015).

| stage | layers | output for 572 x 572 x 1, padding "VALID" |
| --- | --- | --- |
| stem | two 3 x 3 convolutions, 64 maps | 568 x 568 x 64 |
| stage1 | 2 x 2 max-pooling, two convolutions, 128 maps | 280 x 280 x 128 |
| stage2 | the same, 256 maps | 136 x 136 x 256 |
| stage3 | the same, 512 maps | 64 x 64 x 512 |
| stage4 | the same, 1024 maps | 28 x 28 x 1024 |
| up1 | 2 x 2 up-convolution, the skip of stage3, two convolutions, 512 maps | 52 x 52 x 512 |
| up2 | the same with stage2, 256 maps | 100 x 100 x 256 |
| up3 | the same with stage1, 128 maps | 196 x 196 x 128 |
| up4 | the same with stem, 64 maps | 388 x 388 x 64 |
| head | 1 x 1 convolution | 388 x 388 x 2 |

ReLU after every 3 x 3 convolution. 31,030,658 parameters in this form, 31,030,593 with one class.
Between stages travels ``(x, skips)``: the activations, and the outputs of the finer stages which
the stages ``up`` have yet to take.

Source: Ronneberger, Fischer and Brox, U-Net: Convolutional Networks for Biomedical Image
Segmentation, MICCAI 2015, arXiv 1505.04597.
"""

from typing import Literal

import flax.linen as nn
import jax
from jax import numpy as jnp

from cnnlab.models.activations import activation as activation_of
from cnnlab.models.dropout import Dropout
from cnnlab.models.layers import Conv, ConvTranspose
from cnnlab.models.network import Network
from cnnlab.models.norms import Kind
from cnnlab.models.norms import norm as norm_of
from cnnlab.models.part import Part
from cnnlab.models.pooling import max_pool
from cnnlab.spelling import unknown

Skips = tuple[jax.Array, ...]

PADDINGS = ("SAME", "VALID")
UPS = ("transposed", "resize")
BORDERS = ("pad", "crop")


class TwoConvs(Part):
    """Two 3 x 3 convolutions, each with normalisation and activation: what every stage is made of.

    ``conv1``, ``norm1``, ``conv2``, ``norm2``; with normalisation the convolutions have no bias.
    """

    features: int
    padding: str
    norm: Kind
    activation: str
    dtype: jnp.dtype | None

    def two_convs(self, x: jax.Array, train: bool) -> jax.Array:
        """``[N, H, W, C] -> [N, H', W', features]``; H' is H, or H - 4 without padding."""
        for index in (1, 2):
            x = Conv(
                self.features,
                (3, 3),
                padding=self.padding,
                use_bias=self.norm == "none",
                dtype=self.dtype,
                name=f"conv{index}",
            )(x)
            name = f"norm{index}"
            x = norm_of(self.norm, dtype=self.dtype, name=name)(x, self.trains(name, train))
            x = activation_of(self.activation)(x)
        return x


class Stem(TwoConvs):
    """The finest stage: images to ``(x, ())``."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> tuple[jax.Array, Skips]:
        """See the class."""
        return self.two_convs(x, train), ()


class Down(TwoConvs):
    """Half the size: ``(x, skips)`` to ``(y, (*skips, x))``.

    Attributes:
      dropout: the probability with which an activation of the output is dropped in training.
    """

    dropout: float = 0.0

    @nn.compact
    def __call__(
        self, inputs: tuple[jax.Array, Skips], *, train: bool = False
    ) -> tuple[jax.Array, Skips]:
        """See the class."""
        x, skips = inputs
        y = self.two_convs(max_pool(x, 2), train)
        return Dropout(self.dropout)(y, self.trains("Dropout_0", train)), (*skips, x)


class Up(TwoConvs):
    """Twice the size, beside the last skip: ``(x, (*skips, skip))`` to ``(y, skips)``.

    Attributes:
      up: see :func:`unet`.
      border: see :func:`unet`.
    """

    up: str = "transposed"
    border: str = "pad"

    @nn.compact
    def __call__(
        self, inputs: tuple[jax.Array, Skips], *, train: bool = False
    ) -> tuple[jax.Array, Skips]:
        """See the class."""
        x, (*skips, skip) = inputs
        if self.up == "transposed":
            x = ConvTranspose(self.features, 2, 2, dtype=self.dtype, name="up")(x)
        else:
            x = x.repeat(2, axis=1).repeat(2, axis=2)
            x = Conv(self.features, 2, padding="SAME", dtype=self.dtype, name="up")(x)
        if self.border == "pad":
            x = _pad(x, skip)
        else:
            skip = _crop(skip, x)
        return self.two_convs(jnp.concatenate([skip, x], axis=-1), train), tuple(skips)


class PixelClassifier(nn.Module):
    """A 1 x 1 convolution: ``(x, ()) -> float32 [N, H, W, num_classes]``."""

    num_classes: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, inputs: tuple[jax.Array, Skips], *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        x, _ = inputs
        init = nn.initializers.lecun_normal()
        conv = Conv(self.num_classes, (1, 1), kernel_init=init, dtype=self.dtype, name="conv")
        return conv(x).astype(jnp.promote_types(jnp.float32, x.dtype))


def unet(
    num_classes: int = 2,
    *,
    width: int = 64,
    depth: int = 4,
    padding: Literal["SAME", "VALID"] = "SAME",
    border: Literal["pad", "crop"] | None = None,
    up: Literal["transposed", "resize"] = "transposed",
    norm: Kind = "none",
    activation: str = "relu",
    dropout: float = 0.0,
    dtype: jnp.dtype | None = None,
) -> Network:
    """U-Net: images [N, H, W, C] to float32 logits [N, H', W', num_classes] of every pixel.

    The stages ``stem``, ``stage1`` ... ``stageN`` are the encoder, named as a classifier's are.

    Args:
      num_classes: logits of a pixel.
      width: maps of the stem; every stage doubles them.
      depth: how often the size is halved, >= 1.
      padding: of the 3 x 3 convolutions. With "SAME" the logits are those of all the pixels, and
        images may be of any size from 2^depth up. "VALID" is as published: the border that lacks a
        neighbourhood is lost (572 pixels give 388).
      border: what to do where a skip is larger than what came up. "pad" surrounds the latter with
        zeros; "crop" takes the middle of the former. Where a pixel more is needed on one side, it
        is the right or the bottom. By default "pad" for "SAME", where sizes differ by the odd row
        that pooling leaves over, and "crop" for "VALID", as published.
      up: "transposed", a transposed 2 x 2 convolution; "resize", nearest neighbours and a 2 x 2
        convolution, which leaves no chequered pattern (Odena et al., Distill 2016).
      norm: between convolution and activation: a kind of :func:`cnnlab.models.norms.norm`.
      activation: a kind of :func:`cnnlab.models.activations.activation`.
      dropout: probability at the end of the encoder (section 3.1 of the paper drops there, without
        giving a number).
      dtype: of the computation; parameters stay float32.

    Raises:
      ValueError: for an option that is unknown or out of range.
    """
    for name, value, known in (("padding", padding, PADDINGS), ("up", up, UPS)):
        if value not in known:
            raise ValueError(unknown(name, value, known))
    if border is None:
        border = "pad" if padding == "SAME" else "crop"
    if border not in BORDERS:
        raise ValueError(unknown("border", border, BORDERS))
    if width < 1 or depth < 1:
        raise ValueError(f"width and depth must be at least 1, got {width} and {depth}.")
    norm_of(norm)
    activation_of(activation)

    def options(level: int) -> tuple[int, str, Kind, str, jnp.dtype | None]:
        return width * 2**level, padding, norm, activation, dtype

    stages: list[tuple[str, nn.Module]] = [("stem", Stem(*options(0)))]
    for level in range(1, depth + 1):
        drop = dropout if level == depth else 0.0
        stages.append((f"stage{level}", Down(*options(level), drop)))
    for level in range(depth - 1, -1, -1):
        stages.append((f"up{depth - level}", Up(*options(level), up, border)))
    return Network((*stages, ("head", PixelClassifier(num_classes, dtype))))


def _pad(x: jax.Array, like: jax.Array) -> jax.Array:
    """``x`` with zeros around it, of the height and width of ``like``."""
    more = [like.shape[axis] - x.shape[axis] for axis in (1, 2)]
    return jnp.pad(x, ((0, 0), *((m // 2, m - m // 2) for m in more), (0, 0)))


def _crop(x: jax.Array, like: jax.Array) -> jax.Array:
    """The middle of ``x``, of the height and width of ``like``."""
    top, left = ((x.shape[axis] - like.shape[axis]) // 2 for axis in (1, 2))
    return x[:, top : top + like.shape[1], left : left + like.shape[2]]
