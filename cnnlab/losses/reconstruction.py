"""Losses of autoencoders: one value for each example."""

from collections.abc import Callable
from typing import Literal

import jax
import optax
from jax import numpy as jnp

from cnnlab.losses.precision import at_least_float32
from cnnlab.spelling import unknown

Kind = Literal["squared", "bernoulli", "absolute"]
ReconstructionLoss = Callable[..., jax.Array]
"""``(outputs [N, ...], labels [N], targets [N, ...]) -> losses [N]``; the labels are not read."""

_TERMS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "squared": lambda outputs, targets: jnp.square(outputs - targets),
    "absolute": lambda outputs, targets: jnp.abs(outputs - targets),
    "bernoulli": optax.sigmoid_binary_cross_entropy,
}


def reconstruction(kind: Kind = "squared") -> ReconstructionLoss:
    """The mean error of outputs from target images, over the pixels and channels of each image.

    It is the mean, not the sum, so that learning rates do not depend on the size of the images; for
    the sum, which papers report, multiply by H W C.

    Args:
      kind: "squared", the mean squared error, minimised by the mean of the possible targets;
        "absolute", minimised by their median; "bernoulli", the cross-entropy of targets in
        [0, 1] with the sigmoid of the outputs, which are logits then (see ``images_of``).

    Returns:
      ``loss(outputs, labels, targets)``, for ``Recipe.loss``. The targets are the images before
      ``Recipe.corrupt``, which must be set. The loss raises ValueError without targets and for
      targets of another shape than the outputs.

    Raises:
      ValueError: for an unknown kind.

    Source: "bernoulli" as in Hinton and Salakhutdinov, Science 2006; Vincent et al., JMLR 2010,
    section 2.2, for the meaning of squares and cross-entropy.
    """
    _check(kind)

    def loss(outputs: jax.Array, labels: jax.Array, targets: jax.Array | None = None) -> jax.Array:
        del labels
        if targets is None:
            raise ValueError(
                "a reconstruction loss needs target images, got none. Set Recipe.corrupt: "
                "augment.identity shows the network the target images as they are."
            )
        if outputs.shape != targets.shape:
            raise ValueError(
                f"outputs must have the shape of the target images, {targets.shape}, got "
                f"{outputs.shape}. Give the network as many output channels, and images of a size "
                "that it keeps."
            )
        outputs = at_least_float32(outputs)
        terms = _TERMS[kind](outputs, targets.astype(outputs.dtype))
        return jnp.mean(terms, axis=tuple(range(1, terms.ndim)))

    return loss


def images_of(outputs: jax.Array, kind: Kind = "squared") -> jax.Array:
    """The images that the outputs of a network trained with this loss stand for, in [0, 1].

    Args:
      outputs: float [N, ...]; logits for "bernoulli".
      kind: of the loss. All but "bernoulli" are clipped to [0, 1].

    Raises:
      ValueError: for an unknown kind.
    """
    _check(kind)
    return jax.nn.sigmoid(outputs) if kind == "bernoulli" else jnp.clip(outputs, 0, 1)


def _check(kind: str) -> None:
    if kind not in _TERMS:
        raise ValueError(unknown("reconstruction loss", kind, _TERMS))
