"""LeNet-5 (LeCun et al., Proc. IEEE 1998): in the form usual today, and as published.

``lenet5``:

| stage | layers | output for 28 x 28 x 1 |
| --- | --- | --- |
| stem | 5 x 5 convolution, 6 maps, padding 2, ReLU, 2 x 2 max-pooling | 14 x 14 x 6 |
| stage1 | 5 x 5 convolution, 16 maps, ReLU, 2 x 2 max-pooling | 5 x 5 x 16 |
| stage2 | dense 120, ReLU | 120 |
| stage3 | dense 84, ReLU | 84 |
| head | dense | 10 |

ReLU stands for the paper's scaled tanh, max-pooling for its trainable subsampling, softmax for its
radial basis functions.

``lenet5_1998``, with the paper's names and numbers of parameters:

| stage | layers | output for 28 x 28 x 1 | parameters |
| --- | --- | --- | --- |
| stem | padding 2, to 32 x 32; C1: 5 x 5 convolution | 28 x 28 x 6 | 156 |
| | S2: subsampling | 14 x 14 x 6 | 12 |
| stage1 | C3: 5 x 5 convolution with the connections of table I | 10 x 10 x 16 | 1,516 |
| | S4: subsampling | 5 x 5 x 16 | 32 |
| stage2 | C5: 5 x 5 convolution | 1 x 1 x 120 | 48,120 |
| stage3 | F6: dense | 84 | 10,164 |
| head | dense, in place of ten radial basis functions | 10 | 850 |

Subsampling adds 2 x 2 values, multiplies by a coefficient and adds a bias, both trained, one for
each map. Every layer but the last ends in 1.7159 tanh(2x / 3) (appendix A). The paper's 60,000
parameters are those before the head: its radial basis functions have 840 fixed numbers instead of
the 850 trained ones of the dense layer.
"""

import math

import flax.linen as nn
import jax
from jax import numpy as jnp

from cnnlab.models.activations import activation as activation_of
from cnnlab.models.convolution import convolve
from cnnlab.models.layers import Conv, Dense
from cnnlab.models.network import Network
from cnnlab.models.norms import Kind
from cnnlab.models.norms import norm as norm_of
from cnnlab.models.part import Part
from cnnlab.models.perceptron import Classifier, Hidden
from cnnlab.models.pooling import average_pool, max_pool

# Table I: which of the maps of S2 each of the sixteen maps of C3 sees.
THREE = ((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5))
FOUR = (
    *((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (0, 3, 4, 5), (0, 1, 4, 5), (0, 1, 2, 5)),
    *((0, 1, 3, 4), (1, 2, 4, 5), (0, 2, 3, 5)),
)
SIX = ((0, 1, 2, 3, 4, 5),)


class ConvPool(Part):
    """Convolution, activation, 2 x 2 max-pooling: ``[N, H, W, C] -> [N, H'/2, W'/2, features]``."""

    features: int
    kernel_size: int
    padding: int | str
    dtype: jnp.dtype | None = None
    activation: str = "relu"
    norm: Kind = "none"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        conv = Conv(
            self.features,
            (self.kernel_size, self.kernel_size),
            padding=self.padding,
            dtype=self.dtype,
            name="conv",
        )
        normalize = norm_of(self.norm, dtype=self.dtype, name="norm")
        x = normalize(conv(x), self.trains("norm", train))
        x = activation_of(self.activation)(x)
        if min(x.shape[1:3]) < 2:
            raise ValueError(
                f"the images are too small: {x.shape[1]} x {x.shape[2]} pixels are left before the "
                f"pooling of stage {self.name!r}. lenet5 needs at least 12 x 12; for less, "
                'padding="SAME" keeps what the second convolution cuts off.'
            )
        return max_pool(x, (2, 2))


def lenet5(
    num_classes: int = 10,
    *,
    padding: str = "VALID",
    activation: str = "relu",
    norm: Kind = "none",
    dtype: jnp.dtype | None = None,
) -> Network:
    """LeNet-5, 61,706 parameters for 28 x 28 x 1 images and ten classes.

    Args:
      num_classes: outputs.
      padding: of the second convolution; "VALID" as published, "SAME" for images under 12 pixels.
      activation: kind of activation.
      norm: kind of normalisation between each convolution and its activation.
      dtype: of the computation; parameters stay float32.
    """
    return Network(
        (
            ("stem", ConvPool(6, 5, 2, dtype, activation, norm)),
            ("stage1", ConvPool(16, 5, padding, dtype, activation, norm)),
            ("stage2", Hidden(120, dtype, activation)),
            ("stage3", Hidden(84, dtype, activation)),
            ("head", Classifier(num_classes, dtype)),
        )
    )


def scaled_tanh(x: jax.Array) -> jax.Array:
    """1.7159 tanh(2x / 3), which maps 1 to 1 and -1 to -1 (appendix A)."""
    return 1.7159 * jnp.tanh(2 / 3 * x)


def uniform(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    """The paper's initial weights: uniform within 2.4 / fan-in on both sides of zero."""
    bound = 2.4 / math.prod(shape[:-1])
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class Subsampling(nn.Module):
    """The sum of 2 x 2 values times a ``coefficient`` plus a ``bias``, both [C], and scaled tanh.

    Maps [N, H, W, C] to [N, H // 2, W // 2, C]. The coefficients start at 1/4: the mean.
    """

    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """See the class."""
        shape = (x.shape[-1],)
        coefficient = self.param("coefficient", nn.initializers.constant(0.25), shape)
        bias = self.param("bias", nn.initializers.zeros, shape)
        x, coefficient, bias = nn.dtypes.promote_dtype(x, coefficient, bias, dtype=self.dtype)
        return scaled_tanh(4 * average_pool(x, 2) * coefficient + bias)


class ConnectedConv(nn.Module):
    """A convolution whose every map sees some of the input's: ``-> [N, H', W', len(maps)]``.

    Parameters: ``kernel`` [kernel_size, kernel_size, maps seen, maps], of the connections that
    there are, and ``bias`` [maps].

    Attributes:
      maps: for each map of the output the maps of the input that it sees, equally many.
      kernel_size: both ways; nothing is padded.
      dtype: of the computation.
    """

    maps: tuple[tuple[int, ...], ...]
    kernel_size: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """See the class."""
        seen, features = len(self.maps[0]), len(self.maps)
        shape = (self.kernel_size, self.kernel_size, seen, features)
        kernel = self.param("kernel", uniform, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (features,))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        places = jax.nn.one_hot(jnp.asarray(self.maps), x.shape[-1], dtype=kernel.dtype)
        full = jnp.einsum("hwif,fic->hwcf", kernel, places)  # zeros where nothing is connected
        return convolve(x, full, padding="VALID") + bias


class ConvSubsample(nn.Module):
    """C1 and S2: 5 x 5 convolution and subsampling, ``[N, H, W, C] -> [N, H'/2, W'/2, features]``.

    Attributes:
      features: maps of the output.
      padding: zeros on every side of the input.
      dtype: of the computation.
    """

    features: int
    padding: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        conv = Conv(
            self.features,
            5,
            padding=self.padding,
            kernel_init=uniform,
            dtype=self.dtype,
            name="conv",
        )
        return Subsampling(self.dtype, name="subsampling")(scaled_tanh(conv(x)))


class ConnectedSubsample(nn.Module):
    """C3 and S4: ``[N, H, W, 6] -> [N, (H - 4) // 2, (W - 4) // 2, 16]``.

    ``conv1``, ``conv2`` and ``conv3`` hold the maps that see three, four and all six maps of S2.
    """

    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        parts = [
            ConnectedConv(maps, 5, self.dtype, name=f"conv{i}")(x)
            for i, maps in enumerate((THREE, FOUR, SIX), start=1)
        ]
        x = scaled_tanh(jnp.concatenate(parts, axis=-1))
        return Subsampling(self.dtype, name="subsampling")(x)


class ConvTanh(nn.Module):
    """C5: 5 x 5 convolution and scaled tanh, ``[N, H, W, C] -> [N, H - 4, W - 4, features]``."""

    features: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        conv = Conv(self.features, 5, padding=0, kernel_init=uniform, dtype=self.dtype, name="conv")
        return scaled_tanh(conv(x))


class HiddenTanh(nn.Module):
    """F6: flattens, then a dense layer and scaled tanh: ``[N, ...] -> [N, width]``."""

    width: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        x = x.reshape(x.shape[0], -1)
        dense = Dense(self.width, kernel_init=uniform, dtype=self.dtype, name="dense")
        return scaled_tanh(dense(x))


def lenet5_1998(
    num_classes: int = 10, *, padding: int = 2, dtype: jnp.dtype | None = None
) -> Network:
    """LeNet-5 as published: 60,850 parameters for ten classes, 60,000 of them before the head.

    Args:
      num_classes: outputs.
      padding: zeros around the images: 2 makes the paper's 32 x 32 of 28 x 28, 0 is for images
        that have 32 x 32 pixels. Larger images leave C5 with more than one place, all of which F6
        sees.
      dtype: of the computation; parameters stay float32.
    """
    return Network(
        (
            ("stem", ConvSubsample(6, padding, dtype)),
            ("stage1", ConnectedSubsample(dtype)),
            ("stage2", ConvTanh(120, dtype)),
            ("stage3", HiddenTanh(84, dtype)),
            ("head", Classifier(num_classes, dtype, uniform)),
        )
    )
