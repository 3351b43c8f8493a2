"""One update and one evaluation of one network, as pure functions.

Nothing here knows of members, meshes or loops: ``jit``, ``vmap``, ``lax.map``, ``pmap`` and
``shard_map`` go round these functions.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import optax
from jax import numpy as jnp

from cnnlab.data.batches import Batch
from cnnlab.keys import stream_key
from cnnlab.models.network import activations
from cnnlab.train.metrics import Sums, add, batch_sums, zero_sums
from cnnlab.train.state import Average, Recipe, TrainState
from cnnlab.varying import varying_over

CACHE_BYTES = 2**20  # of activations that a part of a batch may have on a CPU


def train_step(
    recipe: Recipe,
    state: TrainState,
    batch: Batch,
    key: jax.Array,
    *,
    axis_name: str | None = None,
) -> tuple[TrainState, Sums]:
    """One update.

    Args:
      recipe: how to train.
      state: of one network.
      batch: ``[N, ...]``, every example real: the gradient does not look at the weights. Under
        ``pmap`` the device's share.
      key: of the run; the step's keys are folded from it and ``state.step``.
      axis_name: the mapped axis to average over where the step runs under ``pmap``, ``shard_map``.
        Under ``jit`` over a mesh the batch is the global one and this stays None. (A BatchNorm
        takes the batch's statistics over devices only if its own ``axis_name`` says so.)

    Returns:
      The next state, and the sums of the batch, taken from the state before the update.

    Raises:
      ValueError: if the batch does not divide into ``recipe.accumulate`` parts.
    """
    device = 0 if axis_name is None else jax.lax.axis_index(axis_name)
    augment_key = jax.random.fold_in(stream_key(key, "augment", state.step), device)
    dropout_key = jax.random.fold_in(stream_key(key, "dropout", state.step), device)
    images = recipe.prepare(stream_key(key, "prepare"), batch.images)
    batch = batch._replace(images=recipe.augment(augment_key, images))
    if recipe.teacher is not None:
        targets = jax.lax.stop_gradient(recipe.teacher(batch.images))
        batch = batch._replace(targets=targets)
    if recipe.corrupt is not None:
        corrupt_key = jax.random.fold_in(stream_key(key, "corrupt", state.step), device)
        shown = recipe.corrupt(corrupt_key, batch.images)
        batch = batch._replace(images=shown, targets=batch.images)

    # Replicated parameters would have a gradient that is summed over the devices already.
    own = state._replace(
        params=varying_over(axis_name, state.params),
        model_state=varying_over(axis_name, state.model_state),
    )
    gradients, model_state, sums = _gradients(recipe, own, batch, dropout_key, axis_name)
    if axis_name is not None:
        gradients, model_state = jax.lax.pmean((gradients, model_state), axis_name)
        diverged = jax.lax.pmin(sums.diverged, axis_name)
        sums = jax.lax.psum(sums, axis_name)._replace(diverged=diverged)

    learning = recipe.trainable(state.params)
    updates, opt_state = recipe.optimizer.update(gradients, state.opt_state, learning)
    if recipe.rates is None:
        params = optax.apply_updates(state.params, updates)
    else:
        updates = recipe.rates.scaled(updates, state.params)
        learning = optax.apply_updates(learning, updates)
        params = recipe.rates.merged(state.params, learning)
    average = _moving_average(recipe, state, params, model_state)
    return TrainState(state.step + 1, params, model_state, opt_state, average), sums


def eval_step(recipe: Recipe, state: TrainState, batch: Batch) -> tuple[jax.Array, Sums]:
    """Logits ``[N, K]`` and sums of one batch; of the moving average where the state has one.

    Targets in the batch are annotations, not a teacher's.
    """
    logits = predict_step(recipe, state, batch.images)
    if recipe.corrupt is not None:
        batch = batch._replace(targets=recipe.prepare(jax.random.key(0), batch.images))
    return logits, _sums(recipe, logits, batch)


def predict_step(recipe: Recipe, state: TrainState, images: jax.Array) -> jax.Array:
    """Logits ``[N, K]`` for uint8 images ``[N, H, W, C]``, without augmentation.

    On a CPU the batch goes through the network in parts that stay in its cache. Where the recipe
    corrupts images, each has a key that is made of its pixels: it is corrupted in the same way in
    every batch, and again the next time.
    """
    network = state.evaluated
    variables = {"params": network.params, **network.model_state}

    def forward(images: jax.Array, stop: str | None = None) -> jax.Array:
        inputs = _network_inputs(recipe, images)
        out: Any = recipe.network.apply(variables, inputs, train=False, stop=stop)
        return out

    first_stage = functools.partial(forward, stop=recipe.network.names[0])
    parts = _cache_sized_parts(images.shape[0], activations(jax.eval_shape(first_stage, images)))
    if parts == 1:
        return forward(images)
    return jax.lax.platform_dependent(
        images, cpu=functools.partial(_in_parts, forward, parts), default=forward
    )


def _network_inputs(recipe: Recipe, images: jax.Array) -> jax.Array:
    """Prepared images, each corrupted with a key of its own uint8 pixels where the recipe does."""
    prepared = recipe.prepare(jax.random.key(0), images)
    if recipe.corrupt is None:
        return prepared
    corrupt = recipe.corrupt
    pixels = images.reshape(images.shape[0], -1).astype(jnp.uint32)
    # A polynomial of the pixels modulo 2**32: whole numbers, so the order of the sum is no matter.
    base = jnp.full(pixels.shape[1], 2654435761, jnp.uint32)
    hashes = jnp.sum(pixels * jnp.cumprod(base, dtype=jnp.uint32), axis=1, dtype=jnp.uint32)
    key = stream_key(jax.random.key(0), "corrupt")

    def one(hashed: jax.Array, image: jax.Array) -> jax.Array:
        return corrupt(jax.random.fold_in(key, hashed), image[None])[0]

    return jax.vmap(one)(hashes, prepared)


def _cache_sized_parts(size: int, given: jax.Array | jax.ShapeDtypeStruct) -> int:
    """Into how many parts a batch is cut so that its first stage gives a megabyte for each."""
    least = max(8, CACHE_BYTES * size // (given.size * given.dtype.itemsize))
    return max(
        parts
        for parts in range(1, size + 1)
        if not size % parts and (parts == 1 or size // parts >= least)
    )


def _in_parts(function: Callable[[jax.Array], jax.Array], parts: int, x: jax.Array) -> jax.Array:
    """``function(x)``, two parts at a time, since one alone does not keep every core busy.

    A part is every ``parts``-th row, so that it is spread over devices as the whole is.
    """
    rows = x.shape[0] // parts
    cut = jnp.moveaxis(x.reshape(rows, parts, *x.shape[1:]), 1, 0)
    abreast = 2 if parts % 2 == 0 else 1
    groups = cut.reshape(parts // abreast, abreast, *cut.shape[1:])
    y = jax.lax.map(lambda group: jnp.stack([function(part) for part in group]), groups)
    return jnp.moveaxis(y.reshape(parts, rows, *y.shape[3:]), 0, 1).reshape(-1, *y.shape[3:])


def _gradients(
    recipe: Recipe,
    state: TrainState,
    batch: Batch,
    dropout_key: jax.Array,
    axis_name: str | None,
) -> tuple[Any, Any, Sums]:
    """The gradient of the batch's mean loss, the new model state and the sums.

    Frozen parameters are constants here: they have no gradient, and none is computed for them.
    """
    rates = recipe.rates
    frozen = frozen_modules(recipe, state.params)

    def objective(learning: Any, model_state: Any, part: Batch, key: jax.Array) -> Any:
        params = learning if rates is None else rates.merged(state.params, learning)
        logits, model_state = recipe.network.apply(
            {"params": params, **model_state},
            part.images,
            train=True,
            mutable=list(model_state),
            rngs={"dropout": key},
            frozen=frozen,
        )
        losses = _losses(recipe, logits, part)
        sums = _sums(recipe, logits, part, state.step, losses)
        return jnp.mean(losses), varying_over(axis_name, (dict(model_state), sums))

    differentiate = jax.grad(objective, has_aux=True)
    parts, learning = recipe.accumulate, recipe.trainable(state.params)
    if parts == 1:
        gradients, (model_state, sums) = differentiate(
            learning, state.model_state, batch, dropout_key
        )
        return gradients, model_state, sums

    size = batch.images.shape[0]
    if size % parts:
        raise ValueError(
            f"a batch of {size} does not divide into accumulate={parts} parts: "
            "change the batch size or the number of parts."
        )
    # Every parts-th example, so that each part is spread over the devices as the batch is.
    cut = jax.tree.map(
        lambda x: jnp.moveaxis(x.reshape(size // parts, parts, *x.shape[1:]), 1, 0), batch
    )

    def add_part(carry: Any, part: tuple[Batch, jax.Array]) -> tuple[Any, None]:
        total, model_state, sums = carry
        piece, index = part
        part_key = jax.random.fold_in(dropout_key, index)
        gradients, (model_state, new) = differentiate(learning, model_state, piece, part_key)
        return (jax.tree.map(jnp.add, total, gradients), model_state, add(sums, new)), None

    zeros = jax.tree.map(jnp.zeros_like, learning)
    carry = (zeros, state.model_state, varying_over(axis_name, zero_sums()))
    (total, model_state, sums), _ = jax.lax.scan(add_part, carry, (cut, jnp.arange(parts)))
    return jax.tree.map(lambda g: g / parts, total), model_state, sums


def frozen_modules(recipe: Recipe, params: Any) -> tuple[str, ...]:
    """Modules that run as in evaluation: frozen ones, stages without parameters before them.

    Only those that lie in a front which is frozen as a whole: a stage that drops out in between
    would make its output another one in every step.
    """
    if recipe.rates is None:
        return ()
    frozen = recipe.rates.frozen_modules(params)
    front: list[str] = []
    for name in recipe.network.names:
        if name in params and name not in frozen:
            break
        front.append(name)
    while front and front[-1] not in params:
        front.pop()
    return (*frozen, *(name for name in front if name not in frozen))


def _losses(recipe: Recipe, outputs: jax.Array, batch: Batch) -> jax.Array:
    """One for each example ``[N]``."""
    given = () if batch.targets is None else (batch.targets,)
    return recipe.loss(outputs, batch.labels, *given)


def _sums(
    recipe: Recipe,
    outputs: jax.Array,
    batch: Batch,
    step: jax.Array | int = 0,
    losses: jax.Array | None = None,
) -> Sums:
    losses = _losses(recipe, outputs, batch) if losses is None else losses
    given = () if batch.targets is None else (batch.targets,)
    scores = None if recipe.score is None else recipe.score(outputs, batch.labels, *given)
    return batch_sums(losses, scores, batch.weights, step)


def _moving_average(
    recipe: Recipe, state: TrainState, params: Any, model_state: Any
) -> Average | None:
    if recipe.ema_decay is None:
        return None
    t = state.step.astype(jnp.float32)
    decay = jnp.minimum(recipe.ema_decay, (1 + t) / (10 + t))
    old, new = state.average, Average(params, model_state)
    return jax.tree.map(lambda o, n: o + (1 - decay).astype(o.dtype) * (n - o), old, new)
