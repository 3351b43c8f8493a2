"""MobileNetV2 (Sandler et al., CVPR 2018, table 2): a family that is not in the zoo, as an example.

    import mobilenet_v2  # from here on the zoo has it, and torchvision's weights find their places

| stage | layers | output for 224 x 224 x 3 |
| --- | --- | --- |
| stem | 3 x 3 convolution, stride 2, 32 maps | 112 x 112 x 32 |
| stage1 | 1 block, 16 maps, not expanded | 112 x 112 x 16 |
| stage2 … stage7 | 2, 3, 4, 3, 3, 1 blocks, expanded 6 times | |
| | of 24, 32, 64, 96, 160, 320 maps | 7 x 7 x 320 |
| stage8 | 1 x 1 convolution, 1280 maps | 7 x 7 x 1280 |
| head | global average pooling, dropout 0.2, dense | 1000 |

3,504,872 parameters for 1000 classes. A block expands its input with a 1 x 1 convolution, convolves
every map with a 3 x 3 kernel of its own and projects with a 1 x 1 convolution; where input and
output are alike, they are added. Batch normalisation after every convolution and ReLU6 after all
but the projection.
"""

import re

import flax.linen as nn
import jax
from jax import numpy as jnp

from cnnlab import models
from cnnlab.models import weights
from cnnlab.models.activations import activation as activation_of
from cnnlab.models.dropout import Dropout
from cnnlab.models.layers import Conv, Dense
from cnnlab.models.norms import Kind, norm
from cnnlab.models.part import Part
from cnnlab.models.pooling import global_average_pool

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, maps, blocks and stride of stage1 … stage7."""

_INIT = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


class ConvNorm(Part):
    """A convolution of 1 or 3 pixels, normalisation and, where ``activation``, that."""

    features: int
    window: int = 1
    strides: int = 1
    groups: int = 1
    norm: Kind = "batch"
    activation: str = "relu6"
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """``[N, H, W, C] -> [N, ceil(H / strides), ceil(W / strides), features]``."""
        x = Conv(
            self.features,
            self.window,
            strides=self.strides,
            padding=self.window // 2,
            use_bias=False,
            groups=self.groups,
            kernel_init=_INIT,
            dtype=self.dtype,
            name="conv",
        )(x)
        x = norm(self.norm, dtype=self.dtype, name="norm")(x, self.trains("norm", train))
        return activation_of(self.activation)(x)


class InvertedResidual(Part):
    """Expansion, a convolution of every map, projection; ``expand``, ``depthwise``, ``project``."""

    features: int
    strides: int
    expansion: int
    norm: Kind = "batch"
    activation: str = "relu6"
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """``[N, H, W, C] -> [N, ceil(H / strides), ceil(W / strides), features]``."""
        wide = self.expansion * x.shape[-1]

        def layer(name: str, y: jax.Array, features: int, **options) -> jax.Array:
            module = ConvNorm(
                features,
                norm=self.norm,
                dtype=self.dtype,
                frozen=self.frozen_in(name),
                name=name,
                **{"activation": self.activation, **options},
            )
            return module(y, train=self.trains(name, train))

        y = x if self.expansion == 1 else layer("expand", x, wide)
        y = layer("depthwise", y, wide, window=3, strides=self.strides, groups=wide)
        y = layer("project", y, self.features, activation="identity")
        return x + y if y.shape == x.shape else y


class Stage(Part):
    """Blocks of one width, ``block0``, ``block1`` …; the first has the stride."""

    expansion: int
    features: int
    blocks: int
    strides: int
    norm: Kind = "batch"
    activation: str = "relu6"
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """``[N, H, W, C] -> [N, ceil(H / strides), ceil(W / strides), features]``."""
        for index in range(self.blocks):
            name = f"block{index}"
            block = InvertedResidual(
                self.features,
                self.strides if index == 0 else 1,
                self.expansion,
                self.norm,
                self.activation,
                self.dtype,
                frozen=self.frozen_in(name),
                name=name,
            )
            x = block(x, train=self.trains(name, train))
        return x


class Head(Part):
    """Global average pooling, dropout and a dense layer: ``-> float32 [N, num_classes]``."""

    num_classes: int
    dropout: float = 0.2
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        x = Dropout(self.dropout, name="dropout")(
            global_average_pool(x), self.trains("dropout", train)
        )
        init = nn.initializers.normal(0.01)
        dense = Dense(self.num_classes, kernel_init=init, dtype=self.dtype, name="dense")
        return dense(x).astype(jnp.float32)


def mobilenet_v2(
    num_classes: int = 10,
    *,
    width: float = 1.0,
    norm: Kind = "batch",
    activation: str = "relu6",
    dropout: float = 0.2,
    dtype: jnp.dtype | None = None,
) -> models.Network:
    """MobileNetV2 for images of 224 x 224 x 3, and of any size from 32 x 32 on.

    Args:
      num_classes: outputs; 1000 in the paper.
      width: factor of all widths, > 0; they are rounded to multiples of 8. The last convolution
        has never fewer than 1280 maps.
      norm: a kind of ``norms.norm``. ``Norm("batch", epsilon=1e-3, momentum=0.997)`` is
        TensorFlow's.
      activation: a kind of ``activations.activation``.
      dropout: probability with which the last layer's inputs are dropped.
      dtype: of the computation; parameters stay float32.
    """
    if not width > 0:
        raise ValueError(f"width must be a factor > 0, got {width}.")
    options = {"norm": norm, "activation": activation, "dtype": dtype}
    stages = [
        (f"stage{i}", Stage(expansion, _multiple_of_8(width * maps), blocks, strides, **options))
        for i, (expansion, maps, blocks, strides) in enumerate(STAGES, start=1)
    ]
    last = _multiple_of_8(1280 * max(1.0, width))
    return models.Network(
        (
            ("stem", ConvNorm(_multiple_of_8(32 * width), 3, 2, **options)),
            *stages,
            ("stage8", ConvNorm(last, **options)),
            ("head", Head(num_classes, dropout, dtype)),
        )
    )


def _multiple_of_8(maps: float) -> int:
    """The nearest, but no more than a tenth below."""
    nearest = max(8, int(maps + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * maps else nearest


def torchvision_names(theirs: weights.Modules, ours: weights.Modules) -> dict[str, str]:
    """``features.4.conv.0.0`` to ``stage3/block0/expand/conv``.

    torchvision numbers blocks through all stages, and the layers of a block that expands begin one
    later.
    """
    blocks = sorted(
        {tuple(path.split("/")[:2]) for path in ours if "/block" in path},
        key=lambda names: [int(re.sub(r"\D", "", name)) for name in names],
    )
    last = len(blocks) + 1
    places = {
        **{"features.0.0": "stem/conv", "features.0.1": "stem/norm", "classifier.1": "head/dense"},
        **{f"features.{last}.0": "stage8/conv", f"features.{last}.1": "stage8/norm"},
    }
    for number, (stage, block) in enumerate(blocks, start=1):
        there, here = f"features.{number}.conv", f"{stage}/{block}"
        layers = [n for n in ("expand", "depthwise") if f"{here}/{n}/conv" in ours]
        for index, layer in enumerate(layers):
            places[f"{there}.{index}.0"] = f"{here}/{layer}/conv"
            places[f"{there}.{index}.1"] = f"{here}/{layer}/norm"
        places[f"{there}.{len(layers)}"] = f"{here}/project/conv"
        places[f"{there}.{len(layers) + 1}"] = f"{here}/project/norm"
    return {name: path for name, path in places.items() if name in theirs}


models.register("mobilenet_v2", mobilenet_v2)
weights.register_mapping("mobilenet_v2", torchvision_names)
