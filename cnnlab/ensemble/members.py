"""Members of an ensemble: bootstraps and subsets of examples, and members of several trainings.

Members of one architecture are a leading axis of the train state and train in one program:

    train.fit(recipe, data, seeds=range(5))                             # start, order, augmentation
    train.fit(recipe, data, seeds=[0] * 5, init_seeds=range(5))         # the start only
    train.fit(recipe, data, seeds=range(5), init_seeds=[0] * 5)         # all but the start
    train.fit(recipe, data, seeds=range(5), subsets=bootstrap(len(data), 5))            # bagging
    train.fit(recipe, data, seeds=range(5), hyperparameters={"weight_decay": [...]})
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from cnnlab.train.state import TrainState


def bootstrap(examples: int, members: int, seed: int = 0) -> np.ndarray:
    """Bootstrap samples: for each member N of the N examples, drawn with replacement.

    A member sees 63.2 % of the examples on average, some of them several times.

    Args:
      examples: N.
      members: M.
      seed: of the draws; member m draws the same whatever M is.

    Returns:
      int32 ``[M, N]``, sorted along a row.

    Raises:
      ValueError: if there are no examples or no members.

    Source: Breiman, Bagging Predictors, Machine Learning 1996.
    """
    _check_sizes(examples, members)
    return np.stack(
        [np.sort(each.integers(0, examples, examples)) for each in _generators(members, seed)]
    ).astype(np.int32)


def subsets(examples: int, members: int, fraction: float, seed: int = 0) -> np.ndarray:
    """Subsets: for each member a fraction of the examples, drawn without replacement.

    Args:
      examples: N.
      members: M.
      fraction: of the examples that a member sees, in (0, 1).
      seed: of the draws; member m draws the same whatever M is.

    Returns:
      int32 ``[M, n]``, n = fraction * N rounded, sorted along a row.

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


def concatenate_members(states: Sequence[TrainState]) -> TrainState:
    """States ``[M1, ...]``, ``[M2, ...]`` … of one architecture as members ``[M1 + M2 + …, ...]``.

    So the snapshots of a run become members for ``train.predict``. The states of different
    optimizers cannot be concatenated and are left out, ``opt_state=()``: such states can be
    evaluated, but not trained further.

    Raises:
      ValueError: if there are none, it is no sequence of states with members, the networks are not
        of one architecture (the arrays that differ are named), or only some have a moving average.
    """
    if isinstance(states, TrainState):
        raise ValueError("states must be a sequence of them, got one TrainState: [states].")
    if not states:
        raise ValueError("an ensemble needs at least one member, got none.")
    for number, each in enumerate(states):
        if np.ndim(each.step) != 1:
            raise ValueError(
                f"states must have a leading axis [M, ...], got a step of shape "
                f"{np.shape(each.step)} for part {number}. For one network: "
                "jax.tree.map(lambda x: x[None], state)."
            )
    first = _descriptions(_networks(states[0]))
    for number, each in enumerate(states[1:], start=1):
        other = _descriptions(_networks(each))
        differing = [
            f"{name}: {first.get(name, 'not there')} and {other.get(name, 'not there')}"
            for name in dict.fromkeys([*first, *other])
            if first.get(name) != other.get(name)
        ]
        if differing:
            raise ValueError(
                "concatenated members must be of one architecture, and all or none must have a "
                f"moving average, but those of part 0 and part {number} differ in {len(differing)} "
                f"arrays: {'; '.join(differing[:3])}. Predict with each part by itself and combine "
                "their logits."
            )
    if len(states) == 1:
        return states[0]
    optimizers = [(jax.tree.structure(s.opt_state), _descriptions(s.opt_state)) for s in states]
    if any(each != optimizers[0] for each in optimizers):
        states = [each._replace(opt_state=()) for each in states]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *states)


def _networks(states: TrainState) -> TrainState:
    """The states without step and optimizer state."""
    return states._replace(step=(), opt_state=())  # type: ignore[arg-type]


def _descriptions(tree: Any) -> dict[str, str]:
    """Path -> dtype and shape without the member axis."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
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
