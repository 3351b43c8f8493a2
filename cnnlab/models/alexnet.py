"""AlexNet (Krizhevsky, Sutskever and Hinton, NeurIPS 2012), and a form for small images.

| stage | layers | output for 227 x 227 x 3 |
| --- | --- | --- |
| stem | 11 x 11 convolution, stride 4, 96 maps, ReLU | 55 x 55 x 96 |
| stage1 | response normalisation, pooling; 5 x 5 convolution, 256 maps, ReLU | 27 x 27 x 256 |
| stage2 | response normalisation, pooling; 3 x 3 convolution, 384 maps, ReLU | 13 x 13 x 384 |
| stage3 | 3 x 3 convolution, 384 maps, ReLU | 13 x 13 x 384 |
| stage4 | 3 x 3 convolution, 256 maps, ReLU | 13 x 13 x 256 |
| stage5 | pooling | 6 x 6 x 256 |
| stage6 | dense 4096, ReLU, dropout 0.5 | 4096 |
| stage7 | dense 4096, ReLU, dropout 0.5 | 4096 |
| head | dense | 1000 |

Pooling takes the largest of 3 x 3 at a stride of 2, so that windows overlap. The paper's two
columns are ``groups=2``: stage1, stage3 and stage4 convolve each half of the maps apart; 60,965,224
parameters, and 62,378,344 in one column. The response normalisation runs over all maps, also across
the columns. 55 x 55 does not follow from the paper's 224 x 224 without padding, but from 227. The
paper's dropout halves the outputs in evaluation, this one doubles what it keeps in training.

For small images (``alexnet_small``), the same row with an unstrided stem:

| stage | layers | output for 32 x 32 x 3 |
| --- | --- | --- |
| stem | 5 x 5 convolution, 64 maps, ReLU | 32 x 32 x 64 |
| stage1 | response normalisation, pooling; 5 x 5 convolution, 192 maps, ReLU | 15 x 15 x 192 |
| stage2 | response normalisation, pooling; 3 x 3 convolution, 384 maps, ReLU | 7 x 7 x 384 |
| stage3 | 3 x 3 convolution, 256 maps, ReLU | 7 x 7 x 256 |
| stage4 | 3 x 3 convolution, 256 maps, ReLU | 7 x 7 x 256 |
| stage5 | pooling | 3 x 3 x 256 |
| stage6, stage7 | dense 1024, ReLU, dropout 0.5, each | 1024 |
| head | dense | 10 |
"""

import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
from jax import numpy as jnp

from cnnlab.models.activations import activation as activation_of
from cnnlab.models.layers import Conv
from cnnlab.models.network import Network
from cnnlab.models.norms import Kind, local_response_norm
from cnnlab.models.norms import norm as norm_of
from cnnlab.models.part import Part
from cnnlab.models.perceptron import Classifier, Hidden
from cnnlab.models.pooling import max_pool


class ConvStage(Part):
    """A convolution and its activation, after what the stage before it left to be done.

    Maps [N, H, W, C] to [N, H', W', features].

    Attributes:
      features: maps of the output.
      kernel_size: of the convolution, both ways.
      strides: of the convolution.
      padding: zeros on every side; half the kernel where None.
      groups: how many parts the maps are cut into.
      respond: whether the response normalisation comes first.
      pool: whether pooling, 3 x 3 at a stride of 2, comes before the convolution.
      norm: kind of normalisation between the convolution and the activation.
      activation: kind of activation.
      dtype: of the computation.
    """

    features: int
    kernel_size: int = 3
    strides: int = 1
    padding: int | None = None
    groups: int = 1
    respond: bool = False
    pool: bool = False
    norm: Kind = "none"
    activation: str = "relu"
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        if self.respond:
            x = local_response_norm(x)
        if self.pool:
            x = max_pool(x, 3, 2)
        x = Conv(
            self.features,
            self.kernel_size,
            strides=self.strides,
            padding=self.kernel_size // 2 if self.padding is None else self.padding,
            groups=self.groups,
            dtype=self.dtype,
            name="conv",
        )(x)
        x = norm_of(self.norm, dtype=self.dtype, name="norm")(x, self.trains("norm", train))
        return activation_of(self.activation)(x)


class Pool(nn.Module):
    """The largest of 3 x 3 at a stride of 2: ``[N, H, W, C] -> [N, (H-1)//2, (W-1)//2, C]``."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        return max_pool(x, 3, 2)


def alexnet(
    num_classes: int = 10,
    *,
    widths: Sequence[int] = (96, 256, 384, 384, 256),
    hidden: Sequence[int] = (4096, 4096),
    groups: int = 1,
    norm: Kind = "lrn",
    activation: str = "relu",
    dropout: float = 0.5,
    stem_padding: int = 0,
    dtype: jnp.dtype | None = None,
) -> Network:
    """AlexNet for images of 227 x 227 x 3, and of any size from 67 x 67 on.

    torchvision's AlexNet (224 x 224, 61,100,840 parameters for 1000 classes) is
    ``alexnet(1000, widths=(64, 192, 384, 256, 256), norm="none", stem_padding=2)``. It drops before
    its dense layers instead of after them, which is the same while evaluating.

    Args:
      num_classes: outputs; 1000 in the paper.
      widths: maps of the five convolutions.
      hidden: units of the two dense layers.
      groups: 2 for the paper's two columns, 1 for one.
      norm: "lrn" is the paper's response normalisation after the first two activations; any other
        kind ("batch", "group", …, "none") stands between every convolution and its activation.
      activation: kind of activation.
      dropout: probability with which units of the dense layers are dropped.
      stem_padding: zeros on every side of the images.
      dtype: of the computation; parameters stay float32.

    Raises:
      ValueError: if there are not five widths and two hidden ones, or the groups do not divide
        them.
    """
    stem = (11, 4, stem_padding)
    return _row(num_classes, stem, widths, hidden, groups, norm, activation, dropout, dtype)


def alexnet_small(
    num_classes: int = 10,
    *,
    widths: Sequence[int] = (64, 192, 384, 256, 256),
    hidden: Sequence[int] = (1024, 1024),
    groups: int = 1,
    norm: Kind = "lrn",
    activation: str = "relu",
    dropout: float = 0.5,
    dtype: jnp.dtype | None = None,
) -> Network:
    """AlexNet for images of 32 x 32 x 3: 5,871,434 parameters for ten classes; from 15 x 15 on.

    Takes and raises what :func:`alexnet` does, but for ``stem_padding``. Not from the paper, whose
    nets for CIFAR-10 have other layers.
    """
    stem = (5, 1, 2)
    return _row(num_classes, stem, widths, hidden, groups, norm, activation, dropout, dtype)


def _row(
    num_classes: int,
    stem: tuple[int, int, int],
    widths: Sequence[int],
    hidden: Sequence[int],
    groups: int,
    norm: Kind,
    activation: str,
    dropout: float,
    dtype: jnp.dtype | None,
) -> Network:
    """The row of stages; ``stem`` is the kernel, stride and padding of the first."""
    if len(widths) != 5 or len(hidden) != 2:
        raise ValueError(
            "AlexNet must have 5 widths, of its convolutions, and 2 hidden ones, of its dense "
            f"layers; got widths={tuple(widths)} and hidden={tuple(hidden)}."
        )
    if groups < 1 or any(width % groups for width in widths):
        raise ValueError(
            f"groups must be at least 1 and divide every width, got groups={groups} and "
            f"widths={tuple(widths)}."
        )
    one, two, three, four, five = widths
    respond = norm == "lrn"
    conv = functools.partial(
        ConvStage, norm="none" if respond else norm, activation=activation, dtype=dtype
    )
    return Network(
        (
            ("stem", conv(one, *stem)),
            ("stage1", conv(two, 5, groups=groups, respond=respond, pool=True)),
            ("stage2", conv(three, respond=respond, pool=True)),
            ("stage3", conv(four, groups=groups)),
            ("stage4", conv(five, groups=groups)),
            ("stage5", Pool()),
            ("stage6", Hidden(hidden[0], dtype, activation, dropout=dropout)),
            ("stage7", Hidden(hidden[1], dtype, activation, dropout=dropout)),
            ("head", Classifier(num_classes, dtype)),
        )
    )
