"""The train state, one pytree, and the recipe, everything about a training that is not data."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax
from jax import numpy as jnp

from cnnlab.augment import Transform, identity
from cnnlab.keys import run_key, stream_key
from cnnlab.losses import softmax_cross_entropy
from cnnlab.models import Network, as_network
from cnnlab.models.init import Init
from cnnlab.models.init import create as create_init
from cnnlab.rates import Rates
from cnnlab.schedules import Schedule
from cnnlab.train.metrics import accuracy

Loss = Callable[..., jax.Array]
"""``(logits [N, K], labels [N]) -> losses [N]``; with a third argument, ``targets [N, ...]``, where
batches have a teacher's outputs, annotations, or an autoencoder's images."""

Score = Callable[..., jax.Array]
"""As a loss, but how right each example is, float ``[N]`` in [0, 1]."""


class Average(NamedTuple):
    """Moving averages of a network, to be evaluated in its place."""

    params: Any
    model_state: Any


class TrainState(NamedTuple):
    """All that changes during training. With members, every leaf has a leading axis ``[M]``."""

    step: jax.Array  # int32 [], updates done so far
    params: Any  # float32 tree, params["stage1"]["block0"]["conv1"]["kernel"] …
    model_state: Any  # the collections that are not parameters: {"batch_stats": …} or {}
    opt_state: Any  # optax, of the parameters that learn
    average: Average | None  # where the recipe asks for it

    @property
    def evaluated(self) -> Average:
        """The parameters and statistics that are evaluated.

        They are the moving average, or the network where there is none.
        """
        return Average(self.params, self.model_state) if self.average is None else self.average


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train: everything but the data, the seed and the length.

    Attributes:
      network: the row of stages; any other Linen module becomes one of a single stage,
        ``models.as_network``.
      optimizer: an optax chain, its schedule inside.
      prepare: from uint8 images to what the network sees, in training and in evaluation; its key is
        not random.
      augment: after ``prepare``, in training only.
      loss: one value an example.
      schedule: the learning rate as a function of the step, where it is to be recorded; the
        optimizer has its own.
      accumulate: the batch goes through the network in this many parts, one after the other, whose
        gradients are averaged: the memory of a part, the update of the whole. BatchNorm sees parts.
      ema_decay: decay of the moving average of parameters and batch statistics that is evaluated in
        place of the network; None for none. In its first steps the average forgets faster:
        ``min(decay, (1 + t) / (10 + t))``.
      teacher: ``(images as the network sees them) -> logits [N, K]``: of each augmented batch
        the targets of the loss, in place of targets that the data set holds. Its network
        gets no gradient. ``transfer.distillation.live_teacher`` makes one.
      rates: which parameters are frozen and how fast the others learn, ``transfer.freezing``; all
        at the optimizer's rate by default.
      corrupt: for an autoencoder: after ``augment``, in training and in
        evaluation (there with a key of each image's pixels), what it is shown of them; the loss
        gets the images from before as its targets. ``augment.identity`` shows them as they are.
      score: how right an output is, recorded as "accuracy"; None where nothing is right or wrong.
      init: how the weights start, ``models.init.create(name)``.

    Raises:
      ValueError: for numbers out of range, or a network that is no Linen module of one argument.
    """

    network: Network
    optimizer: optax.GradientTransformation
    prepare: Transform
    augment: Transform = identity
    loss: Loss = softmax_cross_entropy
    schedule: Schedule | None = None
    accumulate: int = 1
    ema_decay: float | None = None
    teacher: Callable[[jax.Array], jax.Array] | None = None
    rates: Rates | None = None
    corrupt: Transform | None = None
    score: Score | None = accuracy
    # Not compared: programs are compiled once for recipes that differ in nothing but their start.
    init: Init = dataclasses.field(default=create_init("default"), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", as_network(self.network))
        if self.accumulate < 1:
            raise ValueError(f"accumulate must be at least 1 part, got {self.accumulate}.")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay must be in (0, 1) or None, got {self.ema_decay}.")
        if self.teacher is not None and self.corrupt is not None:
            raise ValueError(
                "a recipe has a teacher or corrupt, whose images are the targets: got both."
            )

    @property
    def augments(self) -> bool:
        """True where training sees images other than evaluation does."""
        return self.augment is not identity

    def trainable(self, params: Any) -> Any:
        """The part of ``params`` that learns, and that the optimizer's state is of."""
        return params if self.rates is None else self.rates.trainable(params)


def init_state(
    recipe: Recipe,
    key: jax.Array,
    image_shape: tuple[int, int, int],
    examples: jax.Array | None = None,
) -> TrainState:
    """A fresh state for one network.

    Args:
      recipe: how to train.
      key: of the run, ``run_key(seed)``.
      image_shape: ``(H, W, C)`` of the data set's images.
      examples: uint8 ``[n, H, W, C]``, training images for a ``recipe.init`` that looks at some.

    Raises:
      ValueError: if the initialisation needs more examples than it is given.
    """
    if examples is None:
        examples = jnp.zeros((1, *image_shape), jnp.uint8)
    if examples.shape[0] < recipe.init.examples:
        raise ValueError(
            f"the initialisation {recipe.init.name!r} looks at {recipe.init.examples} training "
            f"images, got {examples.shape[0]}: give init_state more, or it fewer, examples=."
        )
    images = recipe.prepare(stream_key(key, "prepare"), examples)
    if recipe.corrupt is not None:
        images = recipe.corrupt(stream_key(key, "corrupt"), images)
    return _first_state(recipe, recipe.init(recipe.network, stream_key(key, "init"), images))


@functools.lru_cache(maxsize=8)
def state_shapes(recipe: Recipe, image_shape: tuple[int, int, int]) -> TrainState:
    """The shapes and dtypes of a state: the same for every initialisation."""
    plain = dataclasses.replace(recipe, init=create_init("default"))
    shapes: TrainState = jax.eval_shape(lambda key: init_state(plain, key, image_shape), run_key(0))
    return shapes


def states_of(recipe: Recipe, variables: Mapping[str, Any]) -> TrainState:
    """Variables from elsewhere as the states ``[1, ...]`` that ``evaluate`` and ``predict`` take.

    Args:
      recipe: with the network that they are of.
      variables: ``{"params": ..., "batch_stats": ...}``, as ``models.weights.load`` gives them.
    """
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], _first_state(recipe, variables))


def restarted(recipe: Recipe, params: Any, model_state: Any) -> TrainState:
    """States ``[M, ...]`` at step 0 with a fresh optimizer state, to train from given weights.

    Args:
      recipe: how they will be trained.
      params: float tree, every leaf with a leading axis [M].
      model_state: the collections that are not parameters, with the same axis; ``{}`` for none.
    """
    members = jax.tree.leaves(params)[0].shape[0]
    return TrainState(
        step=jnp.zeros((members,), jnp.int32),
        params=params,
        model_state=model_state,
        opt_state=jax.vmap(recipe.optimizer.init)(recipe.trainable(params)),
        average=None if recipe.ema_decay is None else Average(params, model_state),
    )


def _first_state(recipe: Recipe, variables: Mapping[str, Any]) -> TrainState:
    params = variables["params"]
    model_state = {name: value for name, value in variables.items() if name != "params"}
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        model_state=model_state,
        opt_state=recipe.optimizer.init(recipe.trainable(params)),
        average=None if recipe.ema_decay is None else Average(params, model_state),
    )
