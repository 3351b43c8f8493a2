"""Magnitude pruning: the smallest weights are set to zero; the others may be rewound.

The mask is in the parameters themselves: a kernel weight that is exactly zero is pruned, and an
optimizer with ``optim.keep_zeros()`` last in its chain keeps it zero. A kernel that *starts* at
zero (``models.linear``, the last convolutions of a Fixup net) therefore counts as pruned and would
never learn: train such networks without ``keep_zeros`` first.

    pruned = prune(trained, 0.8)
    ticket = rewind(pruned, initial)
    control = rewind(pruned, initial_of_another_seed)

Biases and normalisation are never pruned.

Source: Han et al., Learning both weights and connections, NeurIPS 2015; Frankle and Carbin, The
lottery ticket hypothesis, ICLR 2019; Renda et al., Comparing rewinding and fine-tuning, ICLR 2020.
"""

import functools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import numpy as jnp

from cnnlab.spelling import unknown

SCOPES = ("global", "layer")

Path = tuple[str, ...]


class _Group(NamedTuple):
    """Kernels whose weights are ranked together, and the number of weights to set to zero."""

    paths: tuple[Path, ...]
    zeros: int


def prune(
    params: Any,
    sparsity: float,
    *,
    scope: Literal["global", "layer"] = "global",
    stages: Mapping[str, float] | None = None,
    members: bool = False,
) -> Any:
    """The parameters with the kernel weights of smallest magnitude set to zero.

    Weights that are zero already count as the smallest, so that pruning can continue in rounds. Of
    equal magnitudes the first is pruned first. Under ``jit`` or ``vmap`` the checks of the values
    are left out: there, weights that are zero already stay zero.

    Args:
      params: float tree; its leaves named ``kernel`` are pruned.
      sparsity: in [0, 1): exactly ``round(sparsity * count)`` weights will be zero, of all those
        that are ranked together.
      scope: "global" ranks the weights of all kernels together; "layer" those of each kernel.
      stages: stages with a sparsity of their own in [0, 1), such as ``{"head": 0.4}``; their
        kernels are ranked one by one, apart from the others. 0 leaves a stage unpruned.
      members: True if every leaf has a leading axis [M]; each member is pruned by its own weights.

    Returns:
      The same tree. Warns if a kernel has no weight left.

    Raises:
      ValueError: for a sparsity out of range, one that is lower than the present one, no kernel,
        or an unknown scope or stage.

    Source: Frankle and Carbin, ICLR 2019: "layer" for their perceptron and their small networks of
    convolutions, the output layer at half the rate (``scale_pruning_rate``); "global" for the
    deep ones.
    """
    kernels = _kernels(params)
    lead = 1 if members else 0
    counts = {path: math.prod(leaf.shape[lead:]) for path, leaf in kernels.items()}
    groups = _groups(counts, sparsity, scope, stages or {})
    _check_rising(kernels, groups, members)
    pruned = _set_smallest_to_zero(
        kernels,
        tuple(group.zeros for group in groups),
        together=tuple(group.paths for group in groups),
        members=members,
    )
    _warn_of_empty(pruned, members)
    return unflatten_dict({**flatten_dict(params), **pruned})


def rewind(pruned: Any, initial: Any) -> Any:
    """The initial parameters, with zeros where the kernels of ``pruned`` have zeros.

    With the values that ``pruned`` was trained from, these are the winning tickets; with those of
    another seed, their control: the same connections, reinitialised at random.

    Args:
      pruned: float tree.
      initial: of the same structure and shapes, with members or without.

    Raises:
      ValueError: if they differ in structure or shape.

    Source: Frankle and Carbin, ICLR 2019, section 1.
    """
    kept, start = flatten_dict(pruned), flatten_dict(initial)
    shapes = [{path: jnp.shape(leaf) for path, leaf in tree.items()} for tree in (kept, start)]
    if shapes[0] != shapes[1]:
        different = {"/".join(path) for path, _ in shapes[0].items() ^ shapes[1].items()}
        raise ValueError(
            "pruned and initial must be parameters of the same network, with as many members, but "
            f"differ in {', '.join(sorted(different)[:4])}."
        )
    masked = {
        path: jnp.where(kept[path] != 0, leaf, 0)
        for path, leaf in start.items()
        if _is_kernel(path)
    }
    return unflatten_dict({**start, **masked})


# Rounds --------------------------------------------------------------------------------------


def geometric_sparsities(rate: float, rounds: int) -> tuple[float, ...]:
    """The sparsities of rounds that each prune the fraction ``rate`` of the remaining weights.

    Raises:
      ValueError: for a rate outside (0, 1) or fewer than one round.
    """
    if not 0 < rate < 1:
        raise ValueError(f"the rate must be in (0, 1), a fraction of the weights left, got {rate}.")
    if rounds < 1:
        raise ValueError(f"there must be at least 1 round of pruning, got {rounds}.")
    return tuple(1 - (1 - rate) ** i for i in range(1, rounds + 1))


def check_sparsities(sparsities: Sequence[float]) -> tuple[float, ...]:
    """Checks the sparsities of rounds of pruning: one or more in (0, 1), rising; returns floats.

    Raises:
      ValueError: if they are not.
    """
    checked = tuple(float(each) for each in sparsities)
    steps = zip((0.0, *checked), (*checked, 1.0), strict=True)
    if not checked or not all(low < high for low, high in steps):
        raise ValueError(
            f"the sparsities of the rounds must lie in (0, 1) and rise, got {checked}: such as "
            "0.5, 0.75, 0.9."
        )
    return checked


def scale_pruning_rate(sparsities: Sequence[float], factor: float) -> tuple[float, ...]:
    """The sparsities of layers that are pruned at ``factor`` times the rate of the others.

    Frankle and Carbin prune the output layer at half the rate, ``factor=0.5``: where the others
    keep ``(1 - p)`` of their weights in a round, it keeps ``(1 - p / 2)``.

    Args:
      sparsities: of the other layers, after each round.
      factor: in [0, 1].

    Raises:
      ValueError: for a factor out of range, or sparsities that do not rise.
    """
    if not 0 <= factor <= 1:
        raise ValueError(f"the factor must be in [0, 1], got {factor}.")
    left, before, scaled = 1.0, 1.0, []
    for each in check_sparsities(sparsities):
        rate = 1 - (1 - each) / before
        before = 1 - each
        left *= 1 - factor * rate
        scaled.append(1 - left)
    return tuple(scaled)


# Counts --------------------------------------------------------------------------------------


def sparsity(params: Any) -> jax.Array:
    """The fraction of the kernel weights that is zero, float32 []. ``vmap`` it over members."""
    left = weights_left(params)
    count = sum(leaf.size for leaf in _kernels(params).values())
    return jnp.float32(1) - sum(left.values(), jnp.int32(0)) / count


def weights_left(params: Any) -> dict[str, jax.Array]:
    """The number of weights of each kernel that are not zero, int32 [], by its path.

    A kernel's path is such as "stage1/block0/conv1/kernel". ``vmap`` it over members.
    """
    return {"/".join(path): jnp.sum(leaf != 0) for path, leaf in _kernels(params).items()}


def parameters_left(params: Any) -> jax.Array:
    """The number of parameters left, int32 []: kernel weights that are not zero, and all biases and
    scales. ``vmap`` it over members.
    """
    others = sum(leaf.size for path, leaf in flatten_dict(params).items() if not _is_kernel(path))
    return sum(weights_left(params).values(), jnp.int32(others))


# Helpers -------------------------------------------------------------------------------------


def _is_kernel(path: Path) -> bool:
    return path[-1] == "kernel"


def _kernels(params: Any) -> dict[Path, jax.Array]:
    kernels = {
        path: jnp.asarray(leaf) for path, leaf in flatten_dict(params).items() if _is_kernel(path)
    }
    if not kernels:
        raise ValueError("the parameters must have a leaf named kernel to prune, got none.")
    return kernels


def _groups(
    counts: Mapping[Path, int], sparsity: float, scope: str, stages: Mapping[str, float]
) -> list[_Group]:
    """Groups of kernels that are ranked together, with the number of weights to set to zero."""
    if scope not in SCOPES:
        raise ValueError(unknown("scope of pruning", scope, SCOPES))
    for each in (sparsity, *stages.values()):
        if not 0 <= each < 1:
            raise ValueError(f"a sparsity must be in [0, 1), got {each}.")
    for name in stages:
        if name not in {path[0] for path in counts}:
            raise ValueError(unknown("stage with a kernel", name, {path[0]: 0 for path in counts}))
    others = [path for path in counts if path[0] not in stages]
    together = [tuple(others)] if scope == "global" else [(path,) for path in others]
    wanted = [(paths, sparsity) for paths in together if paths]
    wanted += [((path,), stages[path[0]]) for path in counts if path[0] in stages]
    return [
        _Group(paths, round(share * sum(counts[path] for path in paths))) for paths, share in wanted
    ]


@functools.partial(jax.jit, static_argnames=("together", "members"))
def _set_smallest_to_zero(
    kernels: Mapping[Path, jax.Array],
    zeros: tuple[int, ...],
    *,
    together: tuple[tuple[Path, ...], ...],
    members: bool,
) -> dict[Path, jax.Array]:
    """The kernels, with the ``zeros`` smallest weights of each group in ``together`` set to zero.

    Compiled once for all rounds: ``zeros`` is an argument of the program.
    """
    if members:
        alone = functools.partial(
            _set_smallest_to_zero, zeros=zeros, together=together, members=False
        )
        return jax.vmap(alone)(kernels)
    pruned = {}
    for paths, count in zip(together, zeros, strict=True):
        flat = jnp.concatenate([kernels[path].ravel() for path in paths])
        order = jnp.argsort(jnp.abs(flat), stable=True)
        ranks = jnp.zeros_like(order).at[order].set(jnp.arange(flat.size, dtype=order.dtype))
        flat = jnp.where(ranks < count, 0, flat)
        ends = np.cumsum([kernels[path].size for path in paths])
        for path, part in zip(paths, jnp.split(flat, ends[:-1]), strict=True):
            # Together they have the widest of their dtypes.
            pruned[path] = part.astype(kernels[path].dtype).reshape(kernels[path].shape)
    return pruned


def _check_rising(kernels: Mapping[Path, jax.Array], groups: list[_Group], members: bool) -> None:
    for paths, zeros in groups:
        if any(isinstance(kernels[path], jax.core.Tracer) for path in paths):
            return
        already = sum(_zeros(kernels[path], members) for path in paths)
        if int(jnp.max(already)) > zeros:
            where = "/".join(paths[0]) if len(paths) == 1 else "the kernels"
            raise ValueError(
                f"the sparsity must not fall: {int(jnp.max(already))} weights of {where} are zero "
                f"already, and only {zeros} would be. Choose a higher sparsity, or prune the "
                "parameters of an earlier round."
            )


def _warn_of_empty(kernels: Mapping[Path, jax.Array], members: bool) -> None:
    for path, leaf in kernels.items():
        if isinstance(leaf, jax.core.Tracer):
            return
        empty = _zeros(leaf, members) == leaf.size // (leaf.shape[0] if members else 1)
        if bool(jnp.any(empty)):
            warnings.warn(
                f"pruning left no weight in {'/'.join(path)}: its output no longer depends on "
                'its input. Prune less, or by layer (scope="layer").',
                stacklevel=3,
            )


def _zeros(leaf: jax.Array, members: bool) -> jax.Array:
    """The number of weights that are zero: [] or, of members, [M]."""
    return jnp.sum(leaf == 0, axis=tuple(range(1 if members else 0, leaf.ndim)))
