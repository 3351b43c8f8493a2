"""VGG (Simonyan and Zisserman, Very deep convolutional networks, ICLR 2015), and for small images.

| stage | maps | 3 x 3 convolutions: 11 (A) | 13 (B) | 16 (D) | 19 (E) | output for 224 x 224 x 3 |
| --- | --- | --- | --- | --- | --- | --- |
| stem | 64 | 1 | 2 | 2 | 2 | 112 x 112 x 64 |
| stage1 | 128 | 1 | 2 | 2 | 2 | 56 x 56 x 128 |
| stage2 | 256 | 2 | 2 | 3 | 4 | 28 x 28 x 256 |
| stage3 | 512 | 2 | 2 | 3 | 4 | 14 x 14 x 512 |
| stage4 | 512 | 2 | 2 | 3 | 4 | 7 x 7 x 512 |
| stage5 | dense 4096, ReLU, dropout 0.5 | | | | | 4096 |
| stage6 | dense 4096, ReLU, dropout 0.5 | | | | | 4096 |
| head | dense | | | | | 1000 |

Every convolution has padding 1 and a ReLU after it; every block ends with 2 x 2 max-pooling.

| parameters | 11 | 13 | 16 | 19 |
| --- | --- | --- | --- | --- |
| 224 x 224 x 3, 1000 classes | 132,863,336 | 133,047,848 | 138,357,544 | 143,667,240 |
| with batch normalisation | 132,868,840 | 133,053,736 | 138,365,992 | 143,678,248 |
| ``vgg_small``, ten classes | 9,231,114 | 9,416,010 | 14,728,266 | 20,040,522 |

Batch normalisation is younger than the paper; it stands before each ReLU, and the convolutions keep
their biases, as in torchvision. ``vgg_small`` has no dense layers but the last, after global
average pooling: 32 x 32 pixels are one after five blocks.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
from jax import numpy as jnp

from cnnlab.models.activations import activation as activation_of
from cnnlab.models.layers import Conv
from cnnlab.models.network import Network
from cnnlab.models.norms import Kind
from cnnlab.models.norms import norm as norm_of
from cnnlab.models.part import Part
from cnnlab.models.perceptron import Classifier, Hidden
from cnnlab.models.pooling import max_pool
from cnnlab.models.resnet_cifar import PooledClassifier

CONVOLUTIONS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


class ConvBlock(Part):
    """Convolutions of one width and 2 x 2 max-pooling: ``[N, H, W, C] -> [N, H/2, W/2, features]``.

    Attributes:
      convolutions: how many, named ``conv1``, ``conv2`` … (and ``norm1`` …).
      features: maps of each.
      norm: kind of normalisation between each convolution and its activation.
      activation: kind of activation.
      dtype: of the computation.
    """

    convolutions: int
    features: int
    norm: Kind = "none"
    activation: str = "relu"
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        for i in range(1, self.convolutions + 1):
            x = Conv(self.features, 3, padding=1, dtype=self.dtype, name=f"conv{i}")(x)
            name = f"norm{i}"
            x = norm_of(self.norm, dtype=self.dtype, name=name)(x, self.trains(name, train))
            x = activation_of(self.activation)(x)
        return max_pool(x, 2)


def vgg(
    num_classes: int = 10,
    *,
    depth: int,
    norm: Kind = "none",
    width: int = 64,
    hidden: Sequence[int] = (4096, 4096),
    activation: str = "relu",
    dropout: float = 0.5,
    dtype: jnp.dtype | None = None,
) -> Network:
    """VGG with ``depth`` weighted layers, for images of 224 x 224 x 3 and any from 32 x 32 on.

    Args:
      num_classes: outputs; 1000 in the paper.
      depth: 11, 13, 16 or 19: the paper's configurations A, B, D and E.
      norm: kind of normalisation; "none" in the paper.
      width: maps of the first block; 2, 4, 8 and 8 times as many in the others.
      hidden: units of the dense layers before the last, one stage for each. Where there are none,
        the head takes the mean of every map.
      activation: kind of activation.
      dropout: probability with which units of the dense layers are dropped.
      dtype: of the computation; parameters stay float32.

    Raises:
      ValueError: if the depth or the width are none.
    """
    if depth not in CONVOLUTIONS:
        raise ValueError(f"depth must be one of {', '.join(map(str, CONVOLUTIONS))}, got {depth}.")
    if width < 1:
        raise ValueError(f"width must be at least 1 map, got {width}.")
    names = ("stem", "stage1", "stage2", "stage3", "stage4")
    blocks = tuple(
        (name, ConvBlock(count, width * factor, norm, activation, dtype))
        for name, count, factor in zip(names, CONVOLUTIONS[depth], (1, 2, 4, 8, 8), strict=True)
    )
    dense = tuple(
        (f"stage{i}", Hidden(units, dtype, activation, dropout=dropout))
        for i, units in enumerate(hidden, start=5)
    )
    head = Classifier(num_classes, dtype) if dense else PooledClassifier(num_classes, dtype)
    return Network((*blocks, *dense, ("head", head)))


def vgg_small(
    num_classes: int = 10,
    *,
    depth: int,
    norm: Kind = "batch",
    width: int = 64,
    hidden: Sequence[int] = (),
    activation: str = "relu",
    dropout: float = 0.5,
    dtype: jnp.dtype | None = None,
) -> Network:
    """VGG for images of 32 x 32 x 3: batch normalisation, and one dense layer.

    Takes and raises what :func:`vgg` does; ``hidden=(512,)`` puts a dense layer before the last
    (262,656 parameters more for 32 x 32 pixels). Not from the paper.
    """
    return vgg(
        num_classes,
        depth=depth,
        norm=norm,
        width=width,
        hidden=hidden,
        activation=activation,
        dropout=dropout,
        dtype=dtype,
    )
