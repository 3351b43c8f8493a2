"""LeNet-5 (LeCun et al., Proc. IEEE 1998) in the form that is taught today.

| stage | layers | output for 28 x 28 x 1 |
| --- | --- | --- |
| stem | 5 x 5 convolution, 6 maps, padding 2, ReLU, 2 x 2 max-pooling | 14 x 14 x 6 |
| stage1 | 5 x 5 convolution, 16 maps, ReLU, 2 x 2 max-pooling | 5 x 5 x 16 |
| stage2 | dense 120, ReLU | 120 |
| stage3 | dense 84, ReLU | 84 |
| head | dense | 10 |

ReLU stands for the paper's scaled tanh, max-pooling for its trainable subsampling, softmax for its
radial basis functions.
"""

import flax.linen as nn
import jax
from jax import numpy as jnp

from cnnlab.models.layers import Conv, max_pool
from cnnlab.models.network import Network
from cnnlab.models.perceptron import Classifier, Hidden


class ConvPool(nn.Module):
    """Convolution, ReLU, 2 x 2 max-pooling: ``[N, H, W, C] -> [N, H'/2, W'/2, features]``."""

    features: int
    kernel_size: int
    padding: int | str
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        conv = Conv(
            self.features,
            (self.kernel_size, self.kernel_size),
            padding=self.padding,
            dtype=self.dtype,
            name="conv",
        )
        x = nn.relu(conv(x))
        if min(x.shape[1:3]) < 2:
            raise ValueError(
                f"the images are too small: {x.shape[1]} x {x.shape[2]} pixels are left before the "
                f"pooling of stage {self.name!r}. lenet5 needs at least 12 x 12; for less, "
                'padding="SAME" keeps what the second convolution cuts off.'
            )
        return max_pool(x, (2, 2))


def lenet5(
    num_classes: int = 10, *, padding: str = "VALID", dtype: jnp.dtype | None = None
) -> Network:
    """LeNet-5, 61,706 parameters for 28 x 28 x 1 images and ten classes.

    Args:
      num_classes: outputs.
      padding: of the second convolution; "VALID" as published, "SAME" for images under 12 pixels.
      dtype: of the computation; parameters stay float32.
    """
    return Network(
        (
            ("stem", ConvPool(6, 5, 2, dtype)),
            ("stage1", ConvPool(16, 5, padding, dtype)),
            ("stage2", Hidden(120, dtype)),
            ("stage3", Hidden(84, dtype)),
            ("head", Classifier(num_classes, dtype)),
        )
    )
