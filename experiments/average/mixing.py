"""The average of checkpoints, uniform or greedy, for each seed by itself."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
from jax import numpy as jnp

from cnnlab.data import Splits
from cnnlab.ensemble.averages import average, greedy_soup
from cnnlab.train import Recipe, TrainState, member, recalibrate

from .config import Config


class Mixture(NamedTuple):
    """An average and what it is of."""

    averaged: TrainState  # [M, ...], statistics of batch normalisation averaged, too
    recalibrated: TrainState  # [M, ...], the same where there was nothing to recalibrate
    chosen: list[list[int]]  # the candidates in each seed's average
    tries: list[list[dict[str, Any]]]  # of each seed's greedy soup


def mix(
    config: Config, recipe: Recipe, candidates: Sequence[TrainState], splits: Splits
) -> Mixture:
    """The average of candidates ``[M, ...]``: of all, or those of each seed's greedy soup."""
    if config.how == "greedy":
        return _greedy(config, recipe, candidates, splits)
    averaged = final = average(candidates)
    if config.recalibrate:
        final = recalibrate(recipe, averaged, splits.train, batch_size=config.batch_size)
    seeds = averaged.step.shape[0]
    return Mixture(averaged, final, [list(range(len(candidates)))] * seeds, [])


def _greedy(
    config: Config, recipe: Recipe, candidates: Sequence[TrainState], splits: Splits
) -> Mixture:
    assert splits.validation is not None
    train = splits.train if config.recalibrate else None
    averaged, soups = [], []
    for seed in range(candidates[0].step.shape[0]):
        rows = [member(states, seed) for states in candidates]
        soup = greedy_soup(recipe, rows, splits.validation, train, batch_size=config.batch_size)
        averaged.append(average([rows[index] for index in soup.chosen]))
        soups.append(soup)
    before = jax.tree.map(lambda *leaves: jnp.stack(leaves), *averaged)
    after = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *(s.states for s in soups))
    recalibrated = train is not None and "batch_stats" in before.model_state
    return Mixture(
        before,
        after if recalibrated else before,
        [list(soup.chosen) for soup in soups],
        [[each._asdict() for each in soup.history] for soup in soups],
    )
