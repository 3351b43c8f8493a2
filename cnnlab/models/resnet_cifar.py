"""The residual nets for small images and their plain twins (He et al., CVPR 2016, section 4.2).

| stage | layers | output for 32 x 32 x 3 |
| --- | --- | --- |
| stem | 3 x 3 convolution, 16 maps | 32 x 32 x 16 |
| stage1 | n blocks of two 3 x 3 convolutions, 16 maps | 32 x 32 x 16 |
| stage2 | n blocks, 32 maps, the first with stride 2 | 16 x 16 x 32 |
| stage3 | n blocks, 64 maps, the first with stride 2 | 8 x 8 x 64 |
| head | global average pooling, dense | 10 |

6n + 2 weighted layers: n = 3, 5, 7, 9, 18 for 20, 32, 44, 56, 110; n = 1 gives a net of 8 layers
for small machines. Batch normalisation behind every convolution, He initialisation, no biases.
"""

from typing import Literal

import flax.linen as nn
import jax
from jax import numpy as jnp

from cnnlab.models.layers import BatchNorm, Conv, global_average_pool
from cnnlab.models.network import Network
from cnnlab.models.perceptron import Classifier

Shortcut = Literal["A", "B", "none"]


class ConvNorm(nn.Module):
    """A 3 x 3 convolution without bias, batch normalisation and ReLU: the stem."""

    features: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """``[N, H, W, C] -> [N, H, W, features]``."""
        x = Conv(self.features, (3, 3), padding=1, use_bias=False, dtype=self.dtype, name="conv")(x)
        return nn.relu(BatchNorm(dtype=self.dtype, name="norm")(x, train=train))


class Block(nn.Module):
    """Two 3 x 3 convolutions with a shortcut around them.

    Attributes:
      features: maps of the output.
      strides: of the first convolution (and of the shortcut).
      shortcut: where the shape changes, "A" subsamples and pads the new maps with zeros (no
        parameters), "B" projects with a 1 x 1 convolution; "none" makes the plain net.
      dtype: of the computation.
    """

    features: int
    strides: int = 1
    shortcut: Shortcut = "A"
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """``[N, H, W, C] -> [N, ceil(H / strides), ceil(W / strides), features]``."""

        def conv_norm(x: jax.Array, index: int, strides: int) -> jax.Array:
            x = Conv(
                self.features,
                (3, 3),
                strides=strides,
                padding=1,
                use_bias=False,
                dtype=self.dtype,
                name=f"conv{index}",
            )(x)
            return BatchNorm(dtype=self.dtype, name=f"norm{index}")(x, train=train)

        y = nn.relu(conv_norm(x, 1, self.strides))
        y = conv_norm(y, 2, 1)
        if self.shortcut != "none":
            y = y + self._shortcut(x, train)
        return nn.relu(y)

    def _shortcut(self, x: jax.Array, train: bool) -> jax.Array:
        if self.strides == 1 and x.shape[-1] == self.features:
            return x
        if self.shortcut == "A":
            x = x[:, :: self.strides, :: self.strides]
            new = self.features - x.shape[-1]
            return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (new // 2, new - new // 2)))
        x = Conv(
            self.features,
            (1, 1),
            strides=self.strides,
            padding=0,
            use_bias=False,
            dtype=self.dtype,
            name="projection",
        )(x)
        return BatchNorm(dtype=self.dtype, name="projection_norm")(x, train=train)


class Stage(nn.Module):
    """``blocks`` blocks of one width, named ``block0``, ``block1`` …; the first has the stride."""

    blocks: int
    features: int
    strides: int
    shortcut: Shortcut
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """``[N, H, W, C] -> [N, ceil(H / strides), ceil(W / strides), features]``."""
        for index in range(self.blocks):
            strides = self.strides if index == 0 else 1
            block = Block(self.features, strides, self.shortcut, self.dtype, name=f"block{index}")
            x = block(x, train=train)
        return x


class PooledClassifier(nn.Module):
    """Global average pooling and a dense layer: ``[N, H, W, C] -> float32 [N, num_classes]``."""

    num_classes: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        classifier = Classifier(self.num_classes, self.dtype, name="classifier")
        return classifier(global_average_pool(x), train=train)


def resnet_cifar(
    num_classes: int = 10,
    *,
    depth: int,
    shortcut: Shortcut = "A",
    width: int = 16,
    dtype: jnp.dtype | None = None,
) -> Network:
    """A residual net for small images with ``depth`` weighted layers, or its plain twin.

    Args:
      num_classes: outputs.
      depth: 6n + 2 with n >= 1.
      shortcut: "A" (zero-padded, the paper's for CIFAR), "B" (projections) or "none" (plain).
      width: maps of the first stage; 16 in the paper.
      dtype: of the computation; parameters stay float32.

    Raises:
      ValueError: if ``depth`` is not 6n + 2 or the shortcut is unknown.

    Source: He et al., CVPR 2016, section 4.2 and table 6.
    """
    blocks, rest = divmod(depth - 2, 6)
    if rest or blocks < 1:
        raise ValueError(f"depth must be 6n + 2 (8, 14, 20, 32, 44, 56, 110 …), got {depth}.")
    if shortcut not in ("A", "B", "none"):
        raise ValueError(f'shortcut must be "A", "B" or "none", got {shortcut!r}.')
    if width < 1:
        raise ValueError(f"width must be at least 1 map, got {width}.")
    stages = tuple(
        (f"stage{i + 1}", Stage(blocks, width * 2**i, 1 if i == 0 else 2, shortcut, dtype))
        for i in range(3)
    )
    head = PooledClassifier(num_classes, dtype)
    return Network((("stem", ConvNorm(width, dtype)), *stages, ("head", head)))
