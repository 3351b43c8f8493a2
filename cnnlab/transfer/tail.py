"""The tail of a network: the stages after a frozen front, trained on features, not images."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from jax import numpy as jnp

from cnnlab.augment import compose
from cnnlab.rates import Rates
from cnnlab.train.state import Average, Recipe, TrainState

_NO_AUGMENTATION = compose()  # one function, so that programs of equal recipes are compiled once


def tail_recipe(recipe: Recipe, up_to: str) -> Recipe:
    """The recipe by which the stages after ``up_to`` are trained on features.

    The optimiser, loss and score of the recipe; no augmentation, which the features already have.
    Its rates are kept; their rules for the front match nothing any more.

    Raises:
      ValueError: if there is no such stage or none after it; for a recipe with a teacher or
        ``corrupt``, which would be shown images.
    """
    for name in ("teacher", "corrupt"):
        if getattr(recipe, name) is not None:
            raise ValueError(
                f"features take the place of images, which the recipe's {name} needs: "
                f"leave it out, dataclasses.replace(recipe, {name}=None), or train without a cache."
            )
    rates = recipe.rates
    if rates is not None:
        rates = Rates(rates.rules, optional=tuple(pattern for pattern, _ in rates.rules))
    return dataclasses.replace(
        recipe,
        network=recipe.network.tail(up_to),
        prepare=as_float32,
        augment=_NO_AUGMENTATION,
        rates=rates,
    )


def tail_states(recipe: Recipe, states: TrainState, up_to: str) -> TrainState:
    """The states of the stages after ``up_to``: initial states for training by ``tail_recipe``.

    The optimiser's state is kept where it is of these stages alone: where the recipe's rates freeze
    the front. Otherwise it is a fresh one.

    Args:
      recipe: of the whole network.
      states: ``[M, ...]`` of the whole network.
      up_to: the last stage of the front.

    Raises:
      ValueError: for an unknown stage, none after it, or rates by which a part of the front would
        learn.
    """
    names = recipe.network.tail(up_to).names
    _check_frozen(recipe, states.params, names)
    params, model_state = (
        stages_of(states.params, names),
        stages_of_state(states.model_state, names),
    )
    average = None
    if states.average is not None:
        average = Average(
            stages_of(states.average.params, names),
            stages_of_state(states.average.model_state, names),
        )
    tail = tail_recipe(dataclasses.replace(recipe, teacher=None, corrupt=None), up_to)
    opt_state = _opt_state((recipe, states.params), (tail, params), states.opt_state, states.step)
    return TrainState(states.step, params, model_state, opt_state, average)


def join_front(recipe: Recipe, states: TrainState, tail: TrainState, up_to: str) -> TrainState:
    """The whole network's states: the front of ``states``, bit for bit, and the trained ``tail``.

    Args:
      recipe: of the whole network.
      states: ``[M, ...]`` of the whole network, whose front the features were made with.
      tail: ``[M, ...]``, trained by ``tail_recipe``; its step is that of the result.
      up_to: the last stage of the front.

    Returns:
      States of ``recipe``. The optimiser's state is that of ``tail`` where the recipe's rates
      freeze the front, and otherwise a fresh one.

    Raises:
      ValueError: for an unknown stage, or another number of members.
    """
    if jnp.shape(states.step) != jnp.shape(tail.step):
        raise ValueError(
            f"the tail must have as many members as the whole, got {jnp.shape(tail.step)} and "
            f"{jnp.shape(states.step)}."
        )
    names = recipe.network.front(up_to).names
    params = {**stages_of(states.params, names), **tail.params}
    model_state = _join_states(stages_of_state(states.model_state, names), tail.model_state)
    average = None
    if recipe.ema_decay is not None:
        front = states.evaluated
        after = tail.evaluated
        average = Average(
            {**stages_of(front.params, names), **after.params},
            _join_states(stages_of_state(front.model_state, names), after.model_state),
        )
    ours = tail_recipe(dataclasses.replace(recipe, teacher=None, corrupt=None), up_to)
    opt_state = _opt_state((ours, tail.params), (recipe, params), tail.opt_state, tail.step)
    return TrainState(tail.step, params, model_state, opt_state, average)


def as_float32(key: jax.Array, features: jax.Array) -> jax.Array:
    """The ``prepare`` of recipes that are trained on features."""
    del key
    return features.astype(jnp.float32)


# Parts of trees ------------------------------------------------------------------------------


def stages_of(tree: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The parameters of these stages."""
    return {name: tree[name] for name in names if name in tree}


def stages_of_state(model_state: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Of each collection the part of these stages; no collection without any."""
    parts = {name: stages_of(collection, names) for name, collection in model_state.items()}
    return {name: part for name, part in parts.items() if part}


def _join_states(front: Mapping[str, Any], tail: Mapping[str, Any]) -> dict[str, Any]:
    names = [*front, *(name for name in tail if name not in front)]
    return {name: {**front.get(name, {}), **tail.get(name, {})} for name in names}


def _check_frozen(recipe: Recipe, params: Any, tail: tuple[str, ...]) -> None:
    if recipe.rates is None:
        return
    learning = [name for name in recipe.rates.trainable(params) if name not in tail]
    if learning:
        raise ValueError(
            "the front must be frozen for its features to be computed once, but by the recipe's "
            f"rates {', '.join(learning)} would learn. Cache a shorter front, or freeze "
            "it: transfer.freezing.freeze(network, up_to=...)."
        )


def _opt_state(
    ours: tuple[Recipe, Any], theirs: tuple[Recipe, Any], opt_state: Any, step: Any
) -> Any:
    """The optimiser's state of one recipe for another, if both let the same parameters learn."""
    learning, other = (recipe.trainable(params) for recipe, params in (ours, theirs))
    structures: list[Any] = [jax.tree.structure(tree) for tree in (learning, other)]
    if structures[0] == structures[1]:
        return opt_state
    initial = theirs[0].optimizer.init
    return (jax.vmap(initial) if jnp.ndim(step) else initial)(other)
