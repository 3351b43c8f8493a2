"""The residual nets for small images and their plain twins (He et al., CVPR 2016, section 4.2).

| stage | layers | output for 32 x 32 x 3 |
| --- | --- | --- |
| stem | 3 x 3 convolution, 16 maps | 32 x 32 x 16 |
| stage1 | n blocks of two 3 x 3 convolutions, 16 maps | 32 x 32 x 16 |
| stage2 | n blocks, 32 maps, the first with stride 2 | 16 x 16 x 32 |
| stage3 | n blocks, 64 maps, the first with stride 2 | 8 x 8 x 64 |
| head | global average pooling, dense | 10 |

6n + 2 weighted layers: n = 3, 5, 7, 9, 18 for 20, 32, 44, 56, 110; n = 1 gives a net of 8 layers
for small machines. Batch normalisation after every convolution, He initialisation, no biases.

Without normalisation (``norm="none"``) its place is taken by what Fixup needs: a scalar bias before
every convolution of a block, every activation and the dense layer, and a scalar multiplier at the
end of every branch (Zhang et al., Fixup initialization, ICLR 2019, section 3). A projection shares
the bias of the convolution beside it, as in the authors' code. To be trained with ``init="fixup"``.
"""

from typing import Literal

import flax.linen as nn
import jax
from jax import numpy as jnp

from cnnlab.models.activations import activation
from cnnlab.models.layers import Conv
from cnnlab.models.network import Network
from cnnlab.models.norms import Kind, norm
from cnnlab.models.part import Part
from cnnlab.models.perceptron import Classifier
from cnnlab.models.pooling import global_average_pool

Shortcut = Literal["A", "B", "none"]


def shift(module: nn.Module, x: jax.Array, name: str) -> jax.Array:
    """Adds a scalar parameter of the module, which starts at zero."""
    return x + module.param(name, nn.initializers.zeros, ()).astype(x.dtype)


class ConvNorm(Part):
    """A convolution without bias, normalisation and activation: the stem."""

    features: int
    dtype: jnp.dtype | None = None
    norm: Kind = "batch"
    activation: str = "relu"
    window: int = 3
    strides: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """``[N, H, W, C] -> [N, ceil(H / strides), ceil(W / strides), features]``."""
        x = Conv(
            self.features,
            self.window,
            strides=self.strides,
            padding=self.window // 2,
            use_bias=False,
            dtype=self.dtype,
            name="conv",
        )(x)
        x = norm(self.norm, dtype=self.dtype, name="norm")(x, self.trains("norm", train))
        return activation(self.activation)(shift(self, x, "bias") if self.norm == "none" else x)


class Block(Part):
    """Two 3 x 3 convolutions with a shortcut around them.

    Attributes:
      features: maps of the output.
      strides: of the first convolution (and of the shortcut).
      shortcut: where the shape changes, "A" subsamples and pads the new maps with zeros (no
        parameters), "B" projects with a 1 x 1 convolution; "none" makes the plain net.
      dtype: of the computation.
      norm: after every convolution; "none" puts Fixup's scalars in its place.
      activation: after the first convolution and after the sum.
    """

    features: int
    strides: int = 1
    shortcut: Shortcut = "A"
    dtype: jnp.dtype | None = None
    norm: Kind = "batch"
    activation: str = "relu"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """``[N, H, W, C] -> [N, ceil(H / strides), ceil(W / strides), features]``."""
        activate = activation(self.activation)
        y = self.conv_norm(x, 1, (3, 3), self.strides, train)
        y = self.conv_norm(activate(y), 2, (3, 3), 1, train, last=True)
        if self.shortcut != "none":
            y = y + self.around(x, self.features, train)
        return activate(y)

    def conv_norm(
        self,
        x: jax.Array,
        index: int,
        window: tuple[int, int],
        strides: int,
        train: bool,
        *,
        features: int | None = None,
        last: bool = False,
    ) -> jax.Array:
        """The convolution ``conv<index>`` and its norm, or Fixup's scalars around it."""
        fixup = self.norm == "none"
        if fixup:
            x = shift(self, x, f"bias{index}a")
        conv = Conv(
            features or self.features,
            window,
            strides=strides,
            padding=window[0] // 2,
            use_bias=False,
            dtype=self.dtype,
            name=f"conv{index}",
        )
        y = conv(x)
        if not fixup:
            name = f"norm{index}"
            return norm(self.norm, dtype=self.dtype, name=name)(y, self.trains(name, train))
        if last:
            y = y * self.param("scale", nn.initializers.ones, ()).astype(y.dtype)
        return shift(self, y, f"bias{index}b")

    def around(self, x: jax.Array, features: int, train: bool) -> jax.Array:
        """The shortcut, brought to the shape of the branch."""
        if self.strides == 1 and x.shape[-1] == features:
            return x
        if self.shortcut == "A":
            x = x[:, :: self.strides, :: self.strides]
            new = features - x.shape[-1]
            return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (new // 2, new - new // 2)))
        if self.norm == "none":
            x = x + self.get_variable("params", "bias1a").astype(x.dtype)
        x = Conv(
            features,
            (1, 1),
            strides=self.strides,
            padding=0,
            use_bias=False,
            dtype=self.dtype,
            name="projection",
        )(x)
        name = "projection_norm"
        return norm(self.norm, dtype=self.dtype, name=name)(x, self.trains(name, train))


class Stage(Part):
    """``blocks`` blocks of one width, named ``block0``, ``block1`` …; the first has the stride."""

    blocks: int
    features: int
    strides: int
    shortcut: Shortcut
    dtype: jnp.dtype | None = None
    norm: Kind = "batch"
    activation: str = "relu"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """``[N, H, W, C] -> [N, ceil(H / strides), ceil(W / strides), features]``."""
        for index in range(self.blocks):
            strides, name = self.strides if index == 0 else 1, f"block{index}"
            block = Block(
                self.features,
                strides,
                self.shortcut,
                self.dtype,
                self.norm,
                self.activation,
                frozen=self.frozen_in(name),
                name=name,
            )
            x = block(x, train=self.trains(name, train))
        return x


class PooledClassifier(Part):
    """Global average pooling and a dense layer: ``[N, H, W, C] -> float32 [N, num_classes]``."""

    num_classes: int
    dtype: jnp.dtype | None = None
    scalar_bias: bool = False
    """True adds Fixup's scalar bias before the dense layer."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        x = global_average_pool(x)
        if self.scalar_bias:
            x = shift(self, x, "bias")
        classifier = Classifier(self.num_classes, self.dtype, name="classifier")
        return classifier(x, train=self.trains("classifier", train))


def resnet_cifar(
    num_classes: int = 10,
    *,
    depth: int,
    shortcut: Shortcut = "A",
    width: int = 16,
    norm: Kind = "batch",
    activation: str = "relu",
    dtype: jnp.dtype | None = None,
) -> Network:
    """A residual net for small images with ``depth`` weighted layers, or its plain twin.

    Args:
      num_classes: outputs.
      depth: 6n + 2 with n >= 1.
      shortcut: "A" (zero-padded, the paper's for CIFAR), "B" (projections) or "none" (plain).
      width: maps of the first stage; 16 in the paper.
      norm: a kind of ``norms.norm``; "none" puts Fixup's scalars in its place.
      activation: a kind of ``activations.activation``.
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
        (
            f"stage{i + 1}",
            Stage(blocks, width * 2**i, 1 if i == 0 else 2, shortcut, dtype, norm, activation),
        )
        for i in range(3)
    )
    stem = ConvNorm(width, dtype, norm, activation)
    head = PooledClassifier(num_classes, dtype, scalar_bias=norm == "none")
    return Network((("stem", stem), *stages, ("head", head)))
