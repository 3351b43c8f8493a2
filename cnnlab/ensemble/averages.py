"""Averages of weights: several networks of one architecture averaged into one.

A mean of checkpoints, the mean that stochastic weight averaging keeps while it trains (Izmailov et
al., UAI 2018), and soups of separately trained networks, uniform and greedy (Wortsman et al., ICML
2022). The statistics of batch normalisation of averaged weights are not the average of the
statistics: compute them again with ``train.recalibrate``.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from numpy.typing import ArrayLike

from cnnlab.data import Dataset
from cnnlab.mesh import fetch
from cnnlab.train import Recipe, TrainState, evaluate, recalibrate


def average(states: Sequence[TrainState], weights: ArrayLike | None = None) -> TrainState:
    """The mean of states, such as of a run's last checkpoints.

    Averaged are the parameters and the inexact arrays of ``model_state``, on the host in float64,
    and rounded once to their own dtype. The parameters themselves are averaged: a moving average of
    the states is left out, so that the mean is evaluated. Step, optimizer state and all else are
    those of the last state.

    Args:
      states: one or more of the same network; with ``[M, ...]`` members, each member is averaged by
        itself. None may be traced: for averages in a compiled program there is ``RunningAverage``.
      weights: one >= 0 for each; only their ratios matter. Equal by default.

    Returns:
      A state like each of them, with ``average=None``.

    Raises:
      ValueError: if there is no state or no sequence of them, they are of different networks (the
        state and the array are named), or the weights are negative, not finite, all zero or not
        one for each state.
    """
    if isinstance(states, TrainState):
        raise ValueError(
            "states must be a sequence of them, such as checkpoints, got one. For the mean over "
            "its members: average_members(states)."
        )
    states = list(states)
    shares = _normalized_weights(len(states), weights)
    _check_alike(states)
    last = states[-1]._replace(average=None)

    def mean(*leaves: Any) -> Any:
        if not jnp.issubdtype(leaves[-1].dtype, jnp.inexact):
            return leaves[-1]
        total = np.zeros(leaves[-1].shape, np.float64)
        for share, leaf in zip(shares, leaves, strict=True):
            if share:  # a state of weight 0 may hold a NaN
                total += share * np.asarray(fetch(leaf), np.float64)
        return jnp.asarray(total.astype(leaves[-1].dtype))

    params = jax.tree.map(mean, *(state.params for state in states))
    model_state = jax.tree.map(mean, *(state.model_state for state in states))
    return last._replace(params=params, model_state=model_state)


def average_members(states: TrainState, weights: ArrayLike | None = None) -> TrainState:
    """The mean over the members of states ``[M, ...]``: one network ``[1, ...]``, a uniform soup.

    Averages of members with different initial weights are rarely accurate: a soup is for networks
    that were fine-tuned from the same weights.

    Args and errors are those of ``average``.

    Source: Wortsman et al., Model soups, ICML 2022, section 2.
    """
    return average(_single_networks([states]), weights)


class RunningAverage(NamedTuple):
    """The mean of the weights so far, updated during training: stochastic weight averaging.

    A pytree, and its methods are pure: they may stand in compiled programs and be checkpointed.

    Example:
      >>> mean = None
      >>> for epoch in train.fit(recipe, splits.train, epochs=100):
      ...     if epoch.epoch == 76:
      ...         mean = RunningAverage.start(epoch.states)
      ...     elif mean is not None:
      ...         mean = mean.add(epoch.states)
      >>> states = train.recalibrate(recipe, mean.states(epoch.states), splits.train)

    Source: Izmailov et al., Averaging weights leads to wider optima and better generalization, UAI
    2018, algorithm 1.
    """

    averaged: jax.Array  # int32 [], the number of states; with members [M]
    params: Any  # at least float32, like the parameters

    @classmethod
    def start(cls, states: TrainState) -> "RunningAverage":
        """The mean of one state."""
        params = jax.tree.map(lambda p: p.astype(_at_least_float32(p)), states.params)
        return cls(jnp.ones(states.step.shape, jnp.int32), params)

    def add(self, states: TrainState) -> "RunningAverage":
        """The mean with one more: (n mean + new) / (n + 1), as mean + (new - mean) / (n + 1)."""
        total = self.averaged + 1

        def step(mean: jax.Array, new: jax.Array) -> jax.Array:
            by = total.reshape(total.shape + (1,) * (mean.ndim - total.ndim)).astype(mean.dtype)
            return mean + (new.astype(mean.dtype) - mean) / by

        return RunningAverage(total, jax.tree.map(step, self.params, states.params))

    def states(self, like: TrainState) -> TrainState:
        """``like`` with the mean as its parameters, and without a moving average of its own.

        Its statistics of batch normalisation are those of ``like``: recalibrate them.
        """
        params = jax.tree.map(lambda mean, p: mean.astype(p.dtype), self.params, like.params)
        return like._replace(params=params, average=None)


class SoupStep(NamedTuple):
    """A candidate that was tried in the soup, with the result."""

    candidate: int
    alone: float  # the candidate's own accuracy on the validation data
    accuracy: float  # that of the soup with the candidate
    kept: bool


class Soup(NamedTuple):
    """The result of ``greedy_soup``."""

    states: TrainState  # [1, ...]
    chosen: tuple[int, ...]  # candidates, in the order in which they were added
    history: tuple[SoupStep, ...]  # all candidates, the best one first


def greedy_soup(
    recipe: Recipe,
    candidates: TrainState | Sequence[TrainState],
    validation: Dataset,
    train: Dataset | None,
    *,
    batch_size: int = 512,
) -> Soup:
    """Averages candidates as long as the validation accuracy does not fall.

    Sorted by validation accuracy (of equal ones the first), each candidate is added to the soup if
    the soup's accuracy does not fall. Statistics of batch normalisation are computed again for each
    soup of two or more; a soup of one is that network with its own. So on the validation data the
    soup is never worse than the best candidate. As in ``average``, moving
    averages are left out.

    Args:
      recipe: how the candidates were trained.
      candidates: ``[M, ...]``, or a sequence of states with or without a leading axis, whose
        members are the candidates in turn.
      validation: the data that decide.
      train: the data for statistics, without augmentation; None leaves the statistics averaged.
      batch_size: examples at a time.

    Raises:
      ValueError: if there is no candidate, or they are of different networks.

    Source: Wortsman et al., Model soups, ICML 2022, recipe 1.
    """
    rows = _single_networks([candidates] if isinstance(candidates, TrainState) else candidates)
    _normalized_weights(len(rows), None)
    _check_alike(rows)

    def accuracy(states: TrainState) -> float:
        metrics = evaluate(recipe, states, validation, batch_size=batch_size)
        return float(metrics["accuracy"][0])

    alone = [accuracy(row) for row in rows]
    order = sorted(range(len(rows)), key=lambda index: (-alone[index], index))
    best = order[0]
    soup, chosen, highest = rows[best], [best], alone[best]
    history = [SoupStep(best, highest, highest, True)]
    for index in order[1:]:
        mixed = average([rows[i] for i in (*chosen, index)])
        if train is not None:
            mixed = recalibrate(recipe, mixed, train, batch_size=batch_size)
        score = accuracy(mixed)
        history.append(SoupStep(index, alone[index], score, score >= highest))
        if score >= highest:
            soup, highest = mixed, score
            chosen.append(index)
    return Soup(soup, tuple(chosen), tuple(history))


def _normalized_weights(count: int, weights: ArrayLike | None) -> np.ndarray:
    """The weights [count], which add up to one."""
    if not count:
        raise ValueError("there must be at least one network to average, got none.")
    array = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    if array.shape != (count,):
        raise ValueError(
            f"there must be one weight for each of the {count} networks, got shape {array.shape}."
        )
    if not np.isfinite(array).all() or (array < 0).any() or not array.any():
        raise ValueError(
            f"weights must be finite, at least 0 and not all 0, got {array.tolist()}. Leave them "
            "out for equal ones."
        )
    return array / array.sum()


def _single_networks(states: Sequence[TrainState]) -> list[TrainState]:
    """Every network of some states as states [1, ...], without moving averages."""
    alone = []
    for each in states:
        plain = each._replace(average=None)
        if np.ndim(plain.step) == 0:
            alone.append(jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], plain))
            continue
        alone += [
            jax.tree.map(lambda leaf, row=row: leaf[row : row + 1], plain)
            for row in range(plain.step.shape[0])
        ]
    return alone


def _check_alike(states: Sequence[TrainState]) -> None:
    """Checks that all states are of one network and one number of members."""
    wanted = _shapes(states[0])
    for number, state in enumerate(states[1:], start=1):
        shapes = _shapes(state)
        for path in (*wanted, *shapes):
            if wanted.get(path) != shapes.get(path):
                ours, theirs = (
                    f"shape {each[path]}" if path in each else "no such array"
                    for each in (wanted, shapes)
                )
                raise ValueError(
                    "only networks of one architecture, with the same members, can be averaged: "
                    f"candidate 0 has {ours} at {path}, candidate {number} has {theirs}. Leave "
                    "it out, or train it with the same model and options."
                )


def _shapes(state: TrainState) -> dict[str, tuple[int, ...]]:
    """The shape of every array that is averaged, and of the step, by its path."""
    shapes = {}
    for tree in ({"params": state.params}, state.model_state, {"step": state.step}):
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
            shapes[jax.tree_util.keystr(path)] = tuple(np.shape(leaf))
    return shapes


def _at_least_float32(leaf: jax.Array) -> Any:
    return jnp.promote_types(leaf.dtype, jnp.float32)
