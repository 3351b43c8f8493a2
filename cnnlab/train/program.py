"""The pure steps compiled: several at a time, for all members, over the mesh.

How the member axis runs is decided here and nowhere else: ``vmap`` on an accelerator, ``lax.map``
on a CPU, where a vmapped convolution becomes a grouped one and costs up to 2.5 times as much, and
in either way spread over the ``member`` axis of the mesh.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cnnlab.data.batches import Batch
from cnnlab.data.dataset import Dataset
from cnnlab.keys import run_key
from cnnlab.mesh import DATA, MEMBER, place, run_once_options, sharding
from cnnlab.models import multiply_adds, multiply_adds_of
from cnnlab.models.init import Init
from cnnlab.train.metrics import Sums, add, zero_sums
from cnnlab.train.state import Recipe, TrainState, init_state, state_shapes
from cnnlab.train.step import eval_step, predict_step, train_step

BatchAt = Callable[[Any, Any, jax.Array], Batch]


def over_members(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """Runs ``function`` once for each member.

    Args:
      function: ``(*member's own arguments, *shared arguments) -> tree``.
      mesh: where the members are.

    Returns:
      ``(own, *shared) -> tree``, where ``own`` is a tuple of the members' arguments; these and the
      result have a leading axis ``[M]``.
    """
    platform = mesh.devices.flat[0].platform

    def each(own: tuple[Any, ...], *shared: Any) -> Any:
        if jax.tree.leaves(own)[0].shape[0] == 1:
            alone = function(*jax.tree.map(lambda x: x[0], own), *shared)
            return jax.tree.map(lambda x: x[None], alone)
        if platform == "cpu":
            return jax.lax.map(lambda member: function(*member, *shared), own)
        return jax.vmap(lambda *member: function(*member, *shared))(*own)

    if mesh.shape[MEMBER] == 1:
        return each
    members, whole = PartitionSpec(MEMBER), PartitionSpec()

    def spread(own: tuple[Any, ...], *shared: Any) -> Any:
        return jax.shard_map(
            each,
            mesh=mesh,
            in_specs=(members, *[whole] * len(shared)),
            out_specs=members,
            axis_names={MEMBER},
            check_vma=False,
        )(own, *shared)

    return spread


@functools.lru_cache(maxsize=8)
def init_program(recipe: Recipe, init: Init, image_shape: tuple[int, int, int], mesh: Mesh) -> Any:
    """``(seeds uint32 [M], examples uint8 [n, H, W, C]) -> states [M, ...]``, to be compiled."""
    recipe = dataclasses.replace(recipe, init=init)

    def one(seed: jax.Array, examples: jax.Array) -> TrainState:
        return init_state(recipe, run_key(seed), image_shape, examples)

    def call(seeds: jax.Array, examples: jax.Array) -> TrainState:
        return over_members(one, mesh)((seeds,), examples)

    options = run_once_options(mesh.devices.flat[0].platform)
    return jax.jit(call, out_shardings=sharding(mesh, MEMBER), compiler_options=options)


@functools.lru_cache(maxsize=8)
def train_program(recipe: Recipe, batch_at: BatchAt, mesh: Mesh) -> Any:
    """Many updates in one call, to be compiled.

    Returns:
      ``(states, sums, seeds [M], own, shared, start, count, votes) -> (states, sums, votes)``: runs
      ``count`` updates from step ``start`` of the window and adds to the sums. ``votes`` is int32,
      one for each device; its sum comes back, the same on every process, with the call's result.
    """
    spread = spread_over(mesh)

    def one(
        state: TrainState, sums: Sums, seed: Any, own: Any, shared: Any, start: Any, count: Any
    ) -> tuple[TrainState, Sums]:
        key = run_key(seed)

        def body(index: jax.Array, carry: tuple[TrainState, Sums]) -> tuple[TrainState, Sums]:
            state, sums = carry
            state, new = train_step(recipe, state, spread(batch_at(shared, own, index)), key)
            return state, add(sums, new)

        return jax.lax.fori_loop(start, start + count, body, (state, sums))

    def call(
        states: Any,
        sums: Any,
        seeds: Any,
        own: Any,
        shared: Any,
        start: Any,
        count: Any,
        votes: Any,
    ) -> Any:
        members = (states, sums, seeds, own)
        states, sums = over_members(one, mesh)(members, shared, start, count)
        return states, sums, jnp.sum(votes)

    everywhere = sharding(mesh)
    return jax.jit(call, out_shardings=(sharding(mesh, MEMBER), everywhere, everywhere))


@functools.lru_cache(maxsize=8)
def eval_program(recipe: Recipe, batch_at: BatchAt, mesh: Mesh) -> Callable[..., Sums]:
    """``(states, sums, own, shared, start, count) -> sums``: many evaluation steps in one call."""
    spread = spread_over(mesh)

    def one(state: TrainState, sums: Sums, own: Any, shared: Any, start: Any, count: Any) -> Sums:
        def body(index: jax.Array, sums: Sums) -> Sums:
            return add(sums, eval_step(recipe, state, spread(batch_at(shared, own, index)))[1])

        return jax.lax.fori_loop(start, start + count, body, sums)

    def call(states: Any, sums: Any, own: Any, shared: Any, start: Any, count: Any) -> Any:
        return over_members(one, mesh)((states, sums, own), shared, start, count)

    return jax.jit(call, out_shardings=sharding(mesh))


@functools.lru_cache(maxsize=8)
def predict_program(recipe: Recipe, batch_at: BatchAt, mesh: Mesh) -> Callable[..., jax.Array]:
    """``(states, own, shared, index) -> float32 logits [M, B, K]`` of one batch, compiled."""
    spread = spread_over(mesh)

    def one(state: TrainState, own: Any, shared: Any, index: Any) -> jax.Array:
        return predict_step(recipe, state, spread(batch_at(shared, own, index)).images)

    def call(states: Any, own: Any, shared: Any, index: Any) -> Any:
        return over_members(one, mesh)((states, own), shared, index)

    return jax.jit(call, out_shardings=sharding(mesh))


def no_sums(members: int, mesh: Mesh) -> Sums:
    """The sums of no batch for each member, on the mesh."""
    zeros = jax.tree.map(lambda x: np.broadcast_to(np.asarray(x), (members,)), zero_sums())
    return jax.tree.map(lambda x: place(x, sharding(mesh)), zeros)


def initialise(
    recipe: Recipe, train: Dataset, seeds: jax.Array, mesh: Mesh
) -> tuple[TrainState, int]:
    """Fresh states ``[M, ...]``, and the multiply-adds of a network for one image.

    An initialisation that looks at images is shown ``init_examples``.
    """
    examples = init_examples(recipe, train)
    traced = init_program(recipe, recipe.init, train.image_shape, mesh).trace(seeds, examples)
    # Most initialisations run the network once, on one image: their trace tells what that costs.
    alone = len(examples) == 1
    cost = multiply_adds_of(traced.jaxpr.jaxpr) // seeds.shape[0] if alone else 0
    states = traced.lower().compile()(seeds, place(examples, sharding(mesh)))
    return states, cost or forward_cost(recipe, train.image_shape)


def init_examples(recipe: Recipe, train: Dataset) -> np.ndarray:
    """The images of ``recipe.init``: uint8 ``[n, H, W, C]``, spread evenly over the data set.

    Where only the shape matters, one image of zeros.

    Raises:
      ValueError: if it wants more images than there are.
    """
    count = recipe.init.examples
    if count > len(train):
        raise ValueError(
            f"the initialisation {recipe.init.name!r} looks at {count} images, but {train.name} "
            f"has {len(train)} to train on: give it fewer, examples=."
        )
    if count == 1:
        return np.zeros((1, *train.image_shape), train.images.dtype)
    return train.images[np.linspace(0, len(train) - 1, count).astype(np.int64)]


def check_fits(recipe: Recipe, train: Dataset) -> None:
    """Refuses, before anything is computed, what could not be trained on ``train``.

    Raises:
      ValueError: if the network cannot take such images or does not tell the data set's classes
        apart, or the initialisation cannot start it.
    """
    examples = init_examples(recipe, train)
    images = jax.ShapeDtypeStruct((2, *train.image_shape), jnp.uint8)

    def logits(key: jax.Array, examples: jax.Array, images: jax.Array) -> jax.Array:
        state = init_state(recipe, key, train.image_shape, examples)
        return predict_step(recipe, state, images)

    outputs = jax.eval_shape(logits, run_key(0), examples, images)
    if getattr(outputs, "shape", None) != (2, train.num_classes):
        raise ValueError(
            f"the network must give logits [N, {train.num_classes}] for the classes of "
            f"{train.name}, got {jax.tree.map(lambda x: x.shape, outputs)} for two images. It is "
            "no classifier: choose another model."
        )


def forward_cost(recipe: Recipe, image_shape: tuple[int, int, int]) -> int:
    """The multiply-adds of the network for one image."""
    one = jax.ShapeDtypeStruct((1, *image_shape), jnp.uint8)
    state = state_shapes(recipe, image_shape)
    return multiply_adds(lambda state, x: predict_step(recipe, state, x), state, one)


def teacher_cost(recipe: Recipe, image_shape: tuple[int, int, int]) -> int:
    """The multiply-adds of the recipe's live teacher for one image; 0 where it has none."""
    if recipe.teacher is None:
        return 0
    one = jax.ShapeDtypeStruct((1, *image_shape), jnp.uint8)

    def seen(images: jax.Array) -> jax.Array:
        prepared = recipe.prepare(jax.random.key(0), images)
        return recipe.augment(jax.random.key(0), prepared)

    return multiply_adds(recipe.teacher, jax.eval_shape(seen, one))


def steps_in_a_call(cost: int, batch_size: int, mesh: Mesh, teacher: int = 0) -> int:
    """How many updates to run in one call: a quarter of a second's worth, by their arithmetic.

    Long enough that calling costs nothing, short enough that a run answers to Ctrl-C.

    Args:
      cost: multiply-adds of the network for one image.
      batch_size: of an update.
      mesh: where it runs.
      teacher: multiply-adds of a live teacher for one image, which goes forward only.
    """
    budget = 2e10 if mesh.devices.flat[0].platform == "cpu" else 5e12
    update = 2 * (3 * max(cost, 1) + teacher) * batch_size / mesh.shape[DATA]
    return max(1, round(budget / update))


def spread_over(mesh: Mesh) -> Callable[[Batch], Batch]:
    """Constrains a batch to be split over the ``data`` axis."""
    if mesh.shape[DATA] == 1:
        return lambda batch: batch

    def spread(batch: Batch) -> Batch:
        # Where the member axis is taken apart by hand, the trace has a mesh of its own.
        inner = jax.sharding.get_abstract_mesh()
        where = NamedSharding(mesh if inner.empty else inner, PartitionSpec(DATA))
        return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, where), batch)

    return spread
