"""The train state, one pytree, and the recipe, everything about a training that is not data."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax
from jax import numpy as jnp

from cnnlab.augment import Transform, compose
from cnnlab.keys import stream_key
from cnnlab.losses import softmax_cross_entropy
from cnnlab.models import Network
from cnnlab.schedules import Schedule

Loss = Callable[[jax.Array, jax.Array], jax.Array]
"""``(logits [N, K], labels [N]) -> losses [N]``."""


class Average(NamedTuple):
    """Moving averages of a network, to be evaluated in its place."""

    params: Any
    model_state: Any


class TrainState(NamedTuple):
    """All that changes during training. With members, every leaf has a leading axis ``[M]``."""

    step: jax.Array  # int32 [], updates done so far
    params: Any  # float32 tree, params["stage1"]["block0"]["conv1"]["kernel"] …
    model_state: Any  # the collections that are not parameters: {"batch_stats": …} or {}
    opt_state: Any  # optax
    average: Average | None  # where the recipe asks for it


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train: everything but the data, the seed and the length.

    Attributes:
      network: the row of stages.
      optimizer: an optax chain, its schedule inside.
      prepare: from uint8 images to what the network sees, in training and in evaluation; its key is
        not random.
      augment: behind ``prepare``, in training only.
      loss: one value an example.
      schedule: the learning rate as a function of the step, where it is to be recorded; the
        optimizer has its own.
      accumulate: the batch goes through the network in so many parts, one after the other, whose
        gradients are averaged: the memory of a part, the update of the whole. BatchNorm sees parts.
      ema_decay: decay of the moving average of parameters and batch statistics that is evaluated in
        place of the network; None for none. In its first steps the average forgets faster:
        ``min(decay, (1 + t) / (10 + t))``.

    Raises:
      ValueError: for numbers out of range.
    """

    network: Network
    optimizer: optax.GradientTransformation
    prepare: Transform
    augment: Transform = compose()  # noqa: RUF009 a pure function
    loss: Loss = softmax_cross_entropy
    schedule: Schedule | None = None
    accumulate: int = 1
    ema_decay: float | None = None

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError(f"accumulate must be at least 1 part, got {self.accumulate}.")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay must be in (0, 1) or None, got {self.ema_decay}.")


def init_state(recipe: Recipe, key: jax.Array, image_shape: tuple[int, int, int]) -> TrainState:
    """A fresh state for one network.

    Args:
      recipe: how to train.
      key: of the run, ``run_key(seed)``.
      image_shape: ``(H, W, C)`` of the data set's images.
    """
    pixels = jnp.zeros((1, *image_shape), jnp.uint8)
    images = recipe.prepare(stream_key(key, "prepare"), pixels)
    variables = recipe.network.init(stream_key(key, "init"), images)
    params = variables["params"]
    model_state = {name: value for name, value in variables.items() if name != "params"}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=model_state,
        opt_state=recipe.optimizer.init(params),
        average=None if recipe.ema_decay is None else Average(params, model_state),
    )
