"""SqueezeNet 1.0 (Iandola et al., arXiv 1602.07360, 2016, table 1).

| stage | layers | output for 227 x 227 x 3 |
| --- | --- | --- |
| stem | 7 x 7 convolution, stride 2, 96 maps, ReLU; pooling | 55 x 55 x 96 |
| stage1 | fire2 (16, 64 + 64), fire3 (16, 64 + 64) | 55 x 55 x 128 |
| | fire4 (32, 128 + 128); pooling | 27 x 27 x 256 |
| stage2 | fire5 (32, 128 + 128) | 27 x 27 x 256 |
| | fire6 (48, 192 + 192), fire7 (48, 192 + 192) | 27 x 27 x 384 |
| | fire8 (64, 256 + 256); pooling | 13 x 13 x 512 |
| stage3 | fire9 (64, 256 + 256) | 13 x 13 x 512 |
| head | dropout 0.5, 1 x 1 convolution, 1000 maps, ReLU, global average pooling | 1000 |

1,248,424 parameters for 1000 classes. A fire module (s, e + e) squeezes its input with a 1 x 1
convolution of s maps and expands it with 1 x 1 and 3 x 3 convolutions of e maps each, ReLU after
all three. Pooling takes the largest of 3 x 3 at a stride of 2 and rounds the size up, as Caffe
does. The paper's table says 224 x 224, but its 111 x 111 maps before the first pooling follow from
227. From 224 they are 109 x 109, and after the pooling of stage1 the sizes are the same.
"""

import flax.linen as nn
import jax
from jax import numpy as jnp

from cnnlab.arguments import check_whole
from cnnlab.models.activations import activation as activation_of
from cnnlab.models.dropout import Dropout
from cnnlab.models.layers import Conv
from cnnlab.models.network import Network
from cnnlab.models.part import Part
from cnnlab.models.pooling import global_average_pool, max_pool


class Stem(nn.Module):
    """The 7 x 7 convolution of stride 2, activation and pooling: ``-> [N, H', W', features]``."""

    features: int
    activation: str = "relu"
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        x = Conv(self.features, 7, strides=2, padding=0, dtype=self.dtype, name="conv")(x)
        return max_pool(activation_of(self.activation)(x), 3, 2, ceil=True)


class Fire(nn.Module):
    """``[N, H, W, C] -> [N, H, W, expanded1 + expanded3]``.

    Attributes:
      squeezed: maps of ``squeeze``, the 1 x 1 convolution that comes first.
      expanded1: maps of ``expand1``, the 1 x 1 convolution; first in the output.
      expanded3: maps of ``expand3``, the 3 x 3 convolution.
      activation: kind of activation, after all three.
      dtype: of the computation.
    """

    squeezed: int
    expanded1: int
    expanded3: int
    activation: str = "relu"
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        act = activation_of(self.activation)
        x = act(Conv(self.squeezed, 1, padding=0, dtype=self.dtype, name="squeeze")(x))
        one = Conv(self.expanded1, 1, padding=0, dtype=self.dtype, name="expand1")(x)
        three = Conv(self.expanded3, 3, padding=1, dtype=self.dtype, name="expand3")(x)
        return act(jnp.concatenate([one, three], axis=-1))


class Fires(Part):
    """Fire modules one after the other, and pooling where ``pool``.

    Attributes:
      first: number of the first module; they are named ``fire2``, ``fire3`` …
      sizes: ``(squeezed, expanded1, expanded3)`` of each.
      pool: whether the largest of 3 x 3 is taken at a stride of 2, the size rounded up.
      activation: kind of activation.
      dtype: of the computation.
    """

    first: int
    sizes: tuple[tuple[int, int, int], ...]
    pool: bool
    activation: str = "relu"
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """``[N, H, W, C] -> [N, H', W', maps of the last]``."""
        for i, sizes in enumerate(self.sizes, start=self.first):
            name = f"fire{i}"
            fire = Fire(*sizes, self.activation, self.dtype, name=name)
            x = fire(x, train=self.trains(name, train))
        return max_pool(x, 3, 2, ceil=True) if self.pool else x


class ConvClassifier(Part):
    """Dropout, 1 x 1 convolution, activation and mean: ``-> float32 [N, num_classes]``."""

    num_classes: int
    padding: int = 0
    dropout: float = 0.5
    activation: str = "relu"
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        x = Dropout(self.dropout)(x, self.trains("Dropout_0", train))
        conv = Conv(self.num_classes, 1, padding=self.padding, dtype=self.dtype, name="conv")
        x = activation_of(self.activation)(conv(x))
        return global_average_pool(x.astype(jnp.promote_types(jnp.float32, x.dtype)))


def squeezenet(
    num_classes: int = 10,
    *,
    stem_width: int = 96,
    base: int = 128,
    increment: int = 128,
    frequency: int = 2,
    squeeze_ratio: float = 0.125,
    share_3x3: float = 0.5,
    head_padding: int = 0,
    activation: str = "relu",
    head_activation: str | None = None,
    dropout: float = 0.5,
    dtype: jnp.dtype | None = None,
) -> Network:
    """SqueezeNet for images of 227 x 227 x 3, and of any size from 21 x 21 on.

    The widths are those of the paper's section 5.1: fire module i (from 0) expands to ``base +
    increment * (i // frequency)`` maps.

    Args:
      num_classes: outputs; 1000 in the paper.
      stem_width: maps of the first convolution.
      base: maps of the first fire module.
      increment: maps that are added every ``frequency`` modules.
      frequency: after how many modules.
      squeeze_ratio: squeezed maps for each expanded one, in (0, 1].
      share_3x3: share of the expanded maps that have 3 x 3 kernels, in (0, 1).
      head_padding: zeros around the last convolution's input: 1 in the released Caffe net, 0 here
        and in torchvision. The padded places count in the mean.
      activation: kind of activation.
      head_activation: after the last convolution; the same as elsewhere where None. A ReLU there
        can give a class no gradient any more: "identity" for a head that is trained anew on few
        classes.
      dropout: probability with which the last convolution's inputs are dropped.
      dtype: of the computation; parameters stay float32.

    Raises:
      ValueError: if the stem or a fire module would be left without maps.
    """
    check_whole("stem_width", stem_width, least=1)
    check_whole("frequency", frequency, least=1)

    def fires(first: int, last: int, pool: bool) -> Fires:
        sizes = []
        for i in range(first - 2, last - 1):
            maps = base + increment * (i // frequency)
            three = round(share_3x3 * maps)
            size = (round(squeeze_ratio * maps), maps - three, three)
            if min(size) < 1:
                raise ValueError(
                    "every fire module must have maps to squeeze to and to expand to, but "
                    f"fire{i + 2} would have {size}. Change base, increment, squeeze_ratio or "
                    "share_3x3."
                )
            sizes.append(size)
        return Fires(first, tuple(sizes), pool, activation, dtype)

    last = activation if head_activation is None else head_activation
    return Network(
        (
            ("stem", Stem(stem_width, activation, dtype)),
            ("stage1", fires(2, 4, pool=True)),
            ("stage2", fires(5, 8, pool=True)),
            ("stage3", fires(9, 9, pool=False)),
            ("head", ConvClassifier(num_classes, head_padding, dropout, last, dtype)),
        )
    )
