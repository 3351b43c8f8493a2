"""The linear classifier and the multilayer perceptron, as rows of stages."""

from collections.abc import Sequence

import flax.linen as nn
import jax
from jax import numpy as jnp

from cnnlab.models.layers import Dense
from cnnlab.models.network import Network


class Flatten(nn.Module):
    """``[N, ...] -> [N, D]``, as the stem of a network that sees no neighbourhoods."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        return x.reshape(x.shape[0], -1)


class Hidden(nn.Module):
    """Flattens, then a dense layer and ReLU: ``[N, ...] -> [N, width]``."""

    width: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        x = x.reshape(x.shape[0], -1)
        init = nn.initializers.he_normal()
        return nn.relu(Dense(self.width, kernel_init=init, dtype=self.dtype, name="dense")(x))


class Classifier(nn.Module):
    """Flattens and gives float32 logits ``[N, num_classes]``."""

    num_classes: int
    dtype: jnp.dtype | None = None
    kernel_init: nn.initializers.Initializer = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        x = x.reshape(x.shape[0], -1)
        dense = Dense(
            self.num_classes, kernel_init=self.kernel_init, dtype=self.dtype, name="dense"
        )
        return dense(x).astype(jnp.promote_types(jnp.float32, x.dtype))


def linear(num_classes: int = 10, *, dtype: jnp.dtype | None = None) -> Network:
    """Multinomial logistic regression on the pixels; weights start at zero (the loss is convex)."""
    head = Classifier(num_classes, dtype, nn.initializers.zeros)
    return Network((("stem", Flatten()), ("head", head)))


def mlp(
    num_classes: int = 10,
    *,
    widths: Sequence[int] = (256, 128),
    dtype: jnp.dtype | None = None,
) -> Network:
    """A multilayer perceptron with ReLU: one stage for each width in ``widths``."""
    hidden = tuple((f"stage{i}", Hidden(w, dtype)) for i, w in enumerate(widths, start=1))
    return Network((("stem", Flatten()), *hidden, ("head", Classifier(num_classes, dtype))))
