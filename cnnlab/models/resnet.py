"""The residual nets for ImageNet and their plain twins (He et al., CVPR 2016, table 1).

| stage | 18 | 34 | 50 | 101 | 152 | output for 224 x 224 x 3 |
| --- | --- | --- | --- | --- | --- | --- |
| stem | 7 x 7 convolution, stride 2, 64 maps; 3 x 3 max-pooling, stride 2 | | | | | 56 x 56 x 64 |
| stage1 | 2 | 3 | 3 | 3 | 3 | 56 x 56 x 64 (256) |
| stage2 | 2 | 4 | 4 | 4 | 8 | 28 x 28 x 128 (512) |
| stage3 | 2 | 6 | 6 | 23 | 36 | 14 x 14 x 256 (1024) |
| stage4 | 2 | 3 | 3 | 3 | 3 | 7 x 7 x 512 (2048) |
| head | global average pooling, dense | | | | | 1000 |

The numbers are blocks: two 3 x 3 convolutions in 18 and 34; bottlenecks in the others (1 x 1,
3 x 3, 1 x 1, the last with four times the maps, in brackets). The first block of stage2, stage3 and
stage4 has stride 2. Batch normalisation after every convolution, no biases, He initialisation.

| | 18 | 34 | 50 | 101 | 152 |
| --- | --- | --- | --- | --- | --- |
| parameters, 1000 classes | 11,689,512 | 21,797,672 | 25,557,032 | 44,549,160 | 60,192,808 |
| of the small form, ten classes | 11,173,962 | 21,282,122 | 23,520,842 | 42,512,970 | 58,156,618 |

The small form (not from the paper) has a 3 x 3 stem without stride or pooling: 32 x 32 pixels are
4 x 4 after stage4. Without normalisation Fixup's scalars take its place (see ``resnet_cifar``).
"""

from collections.abc import Sequence
from typing import Literal

import flax.linen as nn
import jax
from jax import numpy as jnp

from cnnlab.models.activations import activation as activation_of
from cnnlab.models.network import Network
from cnnlab.models.norms import Kind
from cnnlab.models.part import Part
from cnnlab.models.pooling import max_pool
from cnnlab.models.resnet_cifar import Block, ConvNorm, PooledClassifier, Shortcut

StrideOn = Literal["conv1", "conv2"]

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
EXPANSION = 4


class Stem(ConvNorm):
    """7 x 7 convolution, norm, activation, pooling: ``-> [N, ceil(H/4), ceil(W/4), features]``."""

    window: int = 7
    strides: int = 2

    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        return max_pool(super().__call__(x, train=train), 3, 2, padding=1)


class Bottleneck(Block):
    """1 x 1, 3 x 3 and 1 x 1 convolutions with a shortcut around them.

    Attributes:
      features: maps of the first two; the output has four times as many.
      stride_on: which convolution has the stride.
    """

    stride_on: StrideOn = "conv2"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """``[N, H, W, C] -> [N, ceil(H / strides), ceil(W / strides), 4 * features]``."""
        activate = activation_of(self.activation)
        wide = EXPANSION * self.features
        first, second = (self.strides, 1) if self.stride_on == "conv1" else (1, self.strides)
        y = activate(self.conv_norm(x, 1, (1, 1), first, train))
        y = activate(self.conv_norm(y, 2, (3, 3), second, train))
        y = self.conv_norm(y, 3, (1, 1), 1, train, features=wide, last=True)
        if self.shortcut != "none":
            y = y + self.around(x, wide, train)
        return activate(y)


class Stage(Part):
    """``blocks`` blocks of one width, named ``block0``, ``block1`` …; the first has the stride.

    Attributes:
      blocks: how many.
      features: maps of each block; a quarter of them where ``stride_on`` is given.
      strides: of the first block.
      shortcut: as for ``Block``.
      stride_on: which convolution of a bottleneck has the stride; plain blocks where None.
      dtype: of the computation.
      norm: kind of normalisation.
      activation: kind of activation.
    """

    blocks: int
    features: int
    strides: int
    shortcut: Shortcut
    stride_on: StrideOn | None = None
    dtype: jnp.dtype | None = None
    norm: Kind = "batch"
    activation: str = "relu"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """``[N, H, W, C] -> [N, ceil(H / strides), ceil(W / strides), maps of a block]``."""
        for index in range(self.blocks):
            strides = self.strides if index == 0 else 1
            fields = (self.features, strides, self.shortcut, self.dtype, self.norm, self.activation)
            name = f"block{index}"
            frozen, trains = self.frozen_in(name), self.trains(name, train)
            if self.stride_on is None:
                x = Block(*fields, frozen=frozen, name=name)(x, train=trains)
            else:
                bottleneck = Bottleneck(*fields, self.stride_on, frozen=frozen, name=name)
                x = bottleneck(x, train=trains)
        return x


def resnet(
    num_classes: int = 10,
    *,
    depth: int,
    blocks: Sequence[int] | None = None,
    shortcut: Shortcut = "B",
    stride_on: StrideOn = "conv2",
    small: bool = False,
    width: int = 64,
    norm: Kind = "batch",
    activation: str = "relu",
    dtype: jnp.dtype | None = None,
) -> Network:
    """A residual net for images of 224 x 224 x 3 or any other size, or its plain twin.

    Args:
      num_classes: outputs; 1000 in the paper.
      depth: 18 or 34 (blocks of two convolutions), 50, 101 or 152 (bottlenecks).
      blocks: how many in each of the four stages; the table's for this depth where None.
      shortcut: "A" (zero-padded), "B" (projections where the shape changes; published for
        bottlenecks and usual for all) or "none" (plain).
      stride_on: which convolution of a bottleneck has the stride: "conv2", as in nearly all
        weights that are published (also called version 1.5), or "conv1", as published.
      small: whether the stem is 3 x 3 without stride or pooling, for images such as 32 x 32.
      width: maps of the stem; 64 in the paper.
      norm: a kind of ``norms.norm``; "none" puts Fixup's scalars in its place.
      activation: a kind of ``activations.activation``.
      dtype: of the computation; parameters stay float32.

    Raises:
      ValueError: if the depth, the blocks, the shortcut, ``stride_on`` or the width are none.
    """
    if depth not in BLOCKS:
        raise ValueError(f"depth must be one of {', '.join(map(str, BLOCKS))}, got {depth}.")
    counts = BLOCKS[depth] if blocks is None else tuple(blocks)
    if len(counts) != 4 or min(counts) < 1:
        raise ValueError(f"blocks must be four numbers >= 1, got {counts}.")
    if shortcut not in ("A", "B", "none"):
        raise ValueError(f'shortcut must be "A", "B" or "none", got {shortcut!r}.')
    if stride_on not in ("conv1", "conv2"):
        raise ValueError(f'stride_on must be "conv1" or "conv2", got {stride_on!r}.')
    if width < 1:
        raise ValueError(f"width must be at least 1 map, got {width}.")
    make_stem = ConvNorm if small else Stem
    bottleneck = stride_on if depth >= 50 else None
    stages = tuple(
        (
            f"stage{i + 1}",
            Stage(
                count,
                width * 2**i,
                1 if i == 0 else 2,
                shortcut,
                bottleneck,
                dtype,
                norm,
                activation,
            ),
        )
        for i, count in enumerate(counts)
    )
    stem = make_stem(width, dtype, norm, activation)
    head = PooledClassifier(num_classes, dtype, scalar_bias=norm == "none")
    return Network((("stem", stem), *stages, ("head", head)))
