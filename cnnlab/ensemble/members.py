"""What members differ by, and how states of several trainings become members of one ensemble.

Members of one architecture are a leading axis of the train state and train in one program:

    train.fit(recipe, data, seeds=range(5))                             # start, order, augmentation
    train.fit(recipe, data, seeds=[0] * 5, init_seeds=range(5))         # the start only
    train.fit(recipe, data, seeds=range(5), init_seeds=[0] * 5)         # all but the start
    train.fit(recipe, data, seeds=range(5), subsets=bootstrap(len(data), 5))            # bagging
    train.fit(recipe, data, seeds=range(5), hyperparameters={"weight_decay": [...]})
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax import numpy as jnp

from cnnlab.train.state import TrainState


def bootstrap(examples: int, members: int, seed: int = 0) -> np.ndarray:
    """For each member as many examples as there are, drawn with replacement.

    A member sees 63.2 % of the examples on average, some of them several times.

    Args:
      examples: N, how many there are.
      members: M.
      seed: of the draws; member m draws the same whatever M is.

    Returns:
      int32 ``[M, N]``, rising along a row.

    Raises:
      ValueError: if there are no examples or no members.

    Source: Breiman, Bagging Predictors, Machine Learning 1996.
    """
    _check_sizes(examples, members)
    return np.stack(
        [np.sort(each.integers(0, examples, examples)) for each in _generators(members, seed)]
    ).astype(np.int32)


def subsets(examples: int, members: int, fraction: float, seed: int = 0) -> np.ndarray:
    """For each member a part of the examples, drawn without replacement.

    Args:
      examples: N, how many there are.
      members: M.
      fraction: of the examples that a member sees, in (0, 1).
      seed: of the draws; member m draws the same whatever M is.

    Returns:
      int32 ``[M, n]``, n = fraction * N rounded, rising along a row.

    Raises:
      ValueError: if the fraction is not in (0, 1), or comes to no example.
    """
    _check_sizes(examples, members)
    if not 0 < fraction < 1:
        raise ValueError(f"the fraction that a member sees must be in (0, 1), got {fraction}.")
    count = round(fraction * examples)
    if not count:
        raise ValueError(f"a fraction of {fraction} of {examples} examples is none: take more.")
    return np.stack(
        [np.sort(each.permutation(examples)[:count]) for each in _generators(members, seed)]
    ).astype(np.int32)


def joined(states: Sequence[TrainState]) -> TrainState:
    """States ``[M1, ...]``, ``[M2, ...]`` … of one architecture as members ``[M1 + M2 + …, ...]``.

    So the snapshots of a run become the members that ``train.predict`` takes.

    Raises:
      ValueError: if there are none, or the networks are not of one architecture; it says which
        array differs.
    """
    if not states:
        raise ValueError("an ensemble needs at least one member, got none.")
    first = _described(states[0])
    for number, each in enumerate(states[1:], start=1):
        found = _described(each)
        differing = [
            f"{name}: {first.get(name, 'not there')} and {found.get(name, 'not there')}"
            for name in dict.fromkeys([*first, *found])
            if first.get(name) != found.get(name)
        ]
        if differing:
            raise ValueError(
                "members must be of one architecture to be joined, but those of part 0 and part "
                f"{number} differ in {len(differing)} arrays: {'; '.join(differing[:3])}. Predict "
                "with each part by itself and combine their logits."
            )
    if len(states) == 1:
        return states[0]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *states)


def _described(states: TrainState) -> dict[str, str]:
    """Path -> dtype and shape without the member axis, of what a network predicts with."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(states)
    return {
        jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape[1:])}" for path, leaf in leaves
    }


def _generators(members: int, seed: int) -> list[np.random.Generator]:
    return [
        np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, member))))
        for member in range(members)
    ]


def _check_sizes(examples: int, members: int) -> None:
    if examples < 1 or members < 1:
        raise ValueError(
            f"there must be at least one example and one member, got {examples} and {members}."
        )
