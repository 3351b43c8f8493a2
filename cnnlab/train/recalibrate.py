"""Running statistics of batch normalisation taken anew from data."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import traverse_util
from jax import numpy as jnp
from jax.sharding import Mesh

from cnnlab.data.batches import training_plan
from cnnlab.data.dataset import Dataset
from cnnlab.keys import stream_key
from cnnlab.mesh import DATA, MEMBER, make_mesh, sharding
from cnnlab.models.norms import MOMENTS
from cnnlab.train.evaluate import evaluation_source
from cnnlab.train.program import BatchAt, over_members, spread_over
from cnnlab.train.state import Average, Recipe, TrainState
from cnnlab.train.step import frozen_modules


def recalibrate(
    recipe: Recipe,
    states: TrainState,
    dataset: Dataset,
    *,
    batch_size: int = 512,
    mesh: Mesh | None = None,
) -> TrainState:
    """The states with running statistics that are those of one pass over ``dataset``.

    For parameters that never saw a batch themselves, such as an average of others (Izmailov et
    al., 2018, section 3.2). The network runs as in training, without augmentation; each layer's
    mean and variance are those of all its inputs together, within and between the batches, and not
    a moving average. Where the states hold a moving average, it is what is recalibrated.

    Args:
      recipe: how the states were trained.
      states: ``[M, ...]``, as ``fit`` yields them.
      dataset: what to run on, in a fixed shuffled order; the last partial batch is left out.
      batch_size: examples at a time; brought down to how many there are, and to a multiple of the
        devices. A layer's inputs depend on the statistics of the batch in the layers before it.
      mesh: all devices by default.

    Returns:
      The states, nothing else changed. A network without such statistics comes back as it is, and
      what the recipe's rates freeze keeps its own.

    Raises:
      ValueError: for a normalisation that is not ``models.norms``', such as Flax's own.
    """
    members = states.step.shape[0]
    network = states.evaluated
    old = traverse_util.flatten_dict(network.model_state.get("batch_stats", {}))
    frozen = frozen_modules(recipe, states.params)
    taken = {path: x for path, x in old.items() if not _is_within(path, frozen)}
    if not taken:
        return states
    mesh = make_mesh(members) if mesh is None else mesh
    devices = mesh.shape[DATA]
    batch_size = min(batch_size, len(dataset)) // devices * devices
    if not batch_size:
        raise ValueError(f"{len(dataset)} examples are too few for {devices} devices.")
    source = evaluation_source(dataset, mesh)
    plan = training_plan(len(dataset), batch_size, (0,) * members, 0, "drop")
    program = moments_program(recipe, source.batch_at, mesh)
    totals = {path: np.zeros(x.shape, x.dtype) for path, x in taken.items()}
    done = 0
    for window in source.windows(plan, 0, plan.shape[1]):
        start, count, shift = map(np.int32, (window.start, window.steps, done - window.start))
        totals = program(network, totals, window.own, window.shared, start, count, shift)
        done += window.steps
    stats = {**old, **_statistics(totals, plan.shape[1])}
    model_state = {**network.model_state, "batch_stats": traverse_util.unflatten_dict(stats)}
    if states.average is None:
        return states._replace(model_state=model_state)
    return states._replace(average=Average(network.params, model_state))


@functools.lru_cache(maxsize=8)
def moments_program(recipe: Recipe, batch_at: BatchAt, mesh: Mesh) -> Any:
    """``(networks, totals, own, shared, start, count, shift) -> totals``, compiled.

    ``totals`` holds, for the paths of what is not frozen in ``batch_stats``, sums ``[M, ...]`` over
    batches: of means, and under ``var`` of means of squares. A batch's random numbers go by its
    number in the data set, that in the window and ``shift``.
    """
    spread = spread_over(mesh)

    def one(
        network: Any,
        totals: Any,
        own: Any,
        shared: Any,
        start: jax.Array,
        count: jax.Array,
        shift: jax.Array,
    ) -> Any:
        def body(index: jax.Array, totals: Any) -> Any:
            batch, number = spread(batch_at(shared, own, index)), index + shift
            images = recipe.prepare(jax.random.key(0), batch.images)
            if recipe.corrupt is not None:
                key = stream_key(jax.random.key(0), "corrupt", number)
                images = recipe.corrupt(key, images)
            _, changed = recipe.network.apply(
                {"params": network.params, **network.model_state},
                images,
                train=True,
                mutable=[*network.model_state, MOMENTS],
                rngs={"dropout": stream_key(jax.random.key(0), "dropout", number)},
                frozen=frozen_modules(recipe, network.params),
            )
            moments = traverse_util.flatten_dict(changed.get(MOMENTS, {}))
            sums = {}
            for path, total in totals.items():
                value = _moment(moments, path)
                if path[-1] == "var":
                    value = value + jnp.square(moments[(*path[:-1], "mean")])
                sums[path] = total + value
            return sums

        return jax.lax.fori_loop(start, start + count, body, totals)

    def call(networks: Any, totals: Any, own: Any, shared: Any, *range_and_shift: Any) -> Any:
        return over_members(one, mesh)((networks, totals, own), shared, *range_and_shift)

    return jax.jit(call, out_shardings=sharding(mesh, MEMBER))


def _moment(moments: Mapping[tuple[str, ...], Any], path: tuple[str, ...]) -> Any:
    """What a layer says of its batch, which Flax's own BatchNorm does not."""
    if path not in moments:
        raise ValueError(
            f"the statistics {'/'.join(path)} cannot be taken anew: their layer does not say what "
            "its batch was, as the normalisation of cnnlab does. Take cnnlab.models.norms.norm("
            '"batch")(x, train) in the place of nn.BatchNorm.'
        )
    return moments[path]


def _is_within(path: tuple[str, ...], modules: Sequence[str]) -> bool:
    """True where a path leads into one of the modules, which are named as ``stage1/block0``."""
    return any("/".join(path).startswith(f"{name}/") for name in modules)


def _statistics(totals: Mapping[tuple[str, ...], Any], batches: int) -> dict[Any, Any]:
    """Means and variances of all statistics, from sums over ``batches`` equal batches."""
    means = {path: total / batches for path, total in totals.items()}
    for path, square in means.items():
        if path[-1] == "var":
            means[path] = jnp.maximum(square - jnp.square(means[(*path[:-1], "mean")]), 0)
    return means
