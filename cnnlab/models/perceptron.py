"""The linear classifier and the multilayer perceptron, as rows of stages."""

from collections.abc import Sequence

import flax.linen as nn
import jax
from jax import numpy as jnp

from cnnlab.models.activations import activation
from cnnlab.models.dropout import Dropout
from cnnlab.models.layers import Dense
from cnnlab.models.network import Network
from cnnlab.models.norms import Kind, norm
from cnnlab.models.part import Part


class Flatten(nn.Module):
    """``[N, ...] -> [N, D]``, as the stem of a network that sees no neighbourhoods."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        del train
        return x.reshape(x.shape[0], -1)


class Hidden(Part):
    """Flattens; a dense layer, normalisation, activation, dropout: ``[N, ...] -> [N, width]``."""

    width: int
    dtype: jnp.dtype | None = None
    activation: str = "relu"
    norm: Kind = "none"
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        """See the class."""
        x = x.reshape(x.shape[0], -1)
        init = nn.initializers.he_normal()
        x = Dense(self.width, kernel_init=init, dtype=self.dtype, name="dense")(x)
        x = norm(self.norm, dtype=self.dtype, name="norm")(x, self.trains("norm", train))
        x = activation(self.activation)(x)
        return Dropout(self.dropout, name="dropout")(x, self.trains("dropout", train))


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
    activation: str = "relu",
    norm: Kind = "none",
    dropout: float = 0.0,
    dtype: jnp.dtype | None = None,
) -> Network:
    """A multilayer perceptron: one stage for each width in ``widths``.

    Args:
      num_classes: outputs.
      widths: of the hidden layers.
      activation: after every hidden layer, a kind of ``activations.activation``.
      norm: between each hidden layer and its activation, a kind of ``norms.norm``.
      dropout: the rate after every hidden layer.
      dtype: of the computation; parameters stay float32.
    """
    hidden = tuple(
        (f"stage{i}", Hidden(w, dtype, activation, norm, dropout))
        for i, w in enumerate(widths, start=1)
    )
    return Network((("stem", Flatten()), *hidden, ("head", Classifier(num_classes, dtype))))
