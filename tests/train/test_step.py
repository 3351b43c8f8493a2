"""The pure step: its gradient, PyTorch's trajectory, and what goes round and into it."""

import dataclasses
import functools

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import traverse_util
from jax import numpy as jnp

from cnnlab import augment, models, optim
from cnnlab.data.batches import Batch
from cnnlab.keys import run_key, stream_key
from cnnlab.losses import softmax_cross_entropy
from cnnlab.train import Recipe, eval_step, init_state, means, predict_step, train_step
from cnnlab.train.metrics import NEVER

KEY = run_key(1)


def close(got, want, rtol=1e-5, atol=1e-6):
    """Asserts that two trees are equal but for rounding."""
    assert jax.tree.structure(got) == jax.tree.structure(want)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), got, want)


@pytest.fixture(scope="module")
def lenet(quick_jit):
    """A recipe without BatchNorm for images of 8 x 8 x 1, and a fresh state."""
    network = models.lenet5(3, padding="SAME")
    optimizer = optim.sgd(0.05, weight_decay=0.01)  # clipping would hide a wrong scale
    recipe = Recipe(network, optimizer, augment.normalize((128.0,), (64.0,)))
    return recipe, quick_jit(lambda key: init_state(recipe, key, (8, 8, 1)))(KEY)


# The gradient


@pytest.mark.parametrize("name", ["resnet8", pytest.param("lenet5", marks=pytest.mark.slow)])
def test_the_change_of_parameters_is_minus_the_finite_differences(quick_jit, make_batch, name):
    """In float64, a random direction in each leaf; BatchNorm, smoothing and decay included."""
    decay, smoothing, nudge = 0.01, 0.1, 1e-6
    settings = {"width": 2} if name == "resnet8" else {"padding": "SAME"}
    network = models.create(name, 3, **settings)
    loss = functools.partial(softmax_cross_entropy, label_smoothing=smoothing)
    optimizer = optim.sgd(1.0, momentum=0.0, weight_decay=decay)
    recipe = Recipe(network, optimizer, augment.normalize((128.0,), (64.0,)), loss=loss)
    batch = make_batch(6)
    with jax.enable_x64(True):
        state = quick_jit(lambda key: init_state(recipe, key, (8, 8, 1)))(KEY)
        wide = jax.tree.map(lambda x: x.astype(jnp.float64), (state.params, state.model_state))
        state = state._replace(params=wide[0], model_state=wide[1])
        images = (np.asarray(batch.images, np.float64) - 128) / 64
        target = (1 - smoothing) * np.eye(3)[np.asarray(batch.labels)] + smoothing / 3

        @quick_jit
        def objective(params):
            variables = {"params": params, **state.model_state}
            logits, _ = network.apply(variables, images, train=True, mutable=["batch_stats"])
            entropy = jnp.mean(jax.nn.logsumexp(logits, axis=1) - (target * logits).sum(axis=1))
            flat = traverse_util.flatten_dict(params)
            squares = sum(jnp.sum(v**2) for path, v in flat.items() if path[-1] == "kernel")
            return entropy + decay / 2 * squares

        after, _ = quick_jit(lambda state: train_step(recipe, state, batch, KEY))(state)
        before = traverse_util.flatten_dict(state.params)
        change = {k: v - before[k] for k, v in traverse_util.flatten_dict(after.params).items()}
        generator = np.random.Generator(np.random.PCG64(0))
        for path, value in before.items():
            direction = generator.standard_normal(value.shape)

            def nudged(size, path=path, value=value, direction=direction):
                moved = {**before, path: value + size * direction}
                return float(objective(traverse_util.unflatten_dict(moved)))

            slope = (nudged(nudge) - nudged(-nudge)) / (2 * nudge)
            predicted = -float(jnp.sum(change[path] * direction))
            assert change[path].dtype == jnp.float64
            np.testing.assert_allclose(predicted, slope, rtol=1e-6, atol=2e-9, err_msg=str(path))


# PyTorch


@pytest.mark.parametrize(
    ("dtype", "steps", "tolerance"),
    [("float32", 10, 1e-4), pytest.param("float64", 50, 1e-6, marks=pytest.mark.slow)],
)
def test_updates_of_lenet_follow_pytorchs(reference, dtype, steps, tolerance):
    """The losses and final norms of ``references/lenet5_torch.json``, relative.

    PyTorch's numbers are in float64. Losses are always added up in float32. A float32 run is held
    to them for ten updates: later, rounding may put a number on the other side of a ReLU's kink,
    and then the runs part.
    """
    script, numbers = reference("lenet5_torch")
    optimizer = optim.sgd(
        script.LEARNING_RATE, momentum=script.MOMENTUM, weight_decay=script.WEIGHT_DECAY
    )
    prepare = augment.normalize((script.MEAN,), (script.STD,))
    recipe = Recipe(models.create("lenet5"), optimizer, prepare)
    fresh = jax.eval_shape(lambda: init_state(recipe, KEY, (28, 28, 1)))
    losses = []
    with jax.enable_x64(dtype == "float64"):
        params = traverse_util.unflatten_dict(
            {path: jnp.asarray(value, dtype) for path, value in script.weights().items()}, sep="/"
        )
        assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, fresh.params)
        state = fresh._replace(
            step=jnp.zeros((), jnp.int32), params=params, opt_state=optimizer.init(params)
        )
        update = jax.jit(lambda state, batch: train_step(recipe, state, batch, KEY))
        for images, labels in zip(*script.batches(), strict=True):
            batch = Batch(images, labels, np.ones(script.BATCH, np.float32))
            state, sums = update(state, batch)
            losses.append(means(sums)["loss"])
    assert len(losses) == 50 and losses[-1] < 0.2 * losses[0]
    np.testing.assert_allclose(losses[:steps], numbers["losses"][:steps], rtol=tolerance)
    if steps < len(losses):
        return
    for path, value in traverse_util.flatten_dict(state.params, sep="/").items():
        assert value.dtype == np.dtype(dtype)
        norm = np.linalg.norm(np.asarray(value))
        np.testing.assert_allclose(norm, numbers["norms"][path], rtol=1e-9, err_msg=path)


# State and sums


def test_sums_are_of_the_state_before_the_update(tiny, tiny_state, quick_jit, make_batch):
    batch = make_batch(6)
    state, sums = quick_jit(lambda s, b: train_step(tiny, s, b, KEY))(tiny_state, batch)

    def before(state, batch):
        images = (batch.images.astype(jnp.float32) - 128) / 64
        variables = {"params": state.params, **state.model_state}
        return tiny.network.apply(variables, images, train=True, mutable=["batch_stats"])

    logits, model_state = quick_jit(before)(tiny_state, batch)
    losses = softmax_cross_entropy(logits, batch.labels)
    np.testing.assert_allclose(sums.loss, losses.sum(), rtol=1e-5)
    assert sums.correct == (logits.argmax(1) == batch.labels).sum()
    assert sums.examples == 6 and sums.diverged == NEVER
    assert state.step == 1 and state.step.dtype == jnp.int32
    close(state.model_state, model_state)


def test_a_loss_that_is_not_finite_is_put_down_to_its_step(lenet, make_batch):
    recipe, state = lenet
    recipe = dataclasses.replace(recipe, loss=lambda logits, labels: logits[:, 0] * jnp.inf)
    _, sums = jax.eval_shape(lambda: train_step(recipe, state, make_batch(2), KEY))
    assert sums.diverged.dtype == jnp.int32
    poisoned = jax.jit(lambda s, b: train_step(recipe, s, b, KEY))(
        state._replace(step=jnp.int32(41)), make_batch(2)
    )
    assert poisoned[1].diverged == 41


def test_evaluation_counts_examples_of_weight_one_and_uses_running_statistics(
    tiny, tiny_state, quick_jit, make_batch
):
    batch = make_batch(5)._replace(weights=jnp.asarray([1.0, 1, 1, 0, 0]))
    logits, sums = quick_jit(functools.partial(eval_step, tiny))(tiny_state, batch)
    images = (batch.images.astype(jnp.float32) - 128) / 64
    variables = {"params": tiny_state.params, **tiny_state.model_state}
    want = quick_jit(functools.partial(tiny.network.apply, train=False))(variables, images)
    np.testing.assert_allclose(logits, want, rtol=1e-5, atol=1e-6)
    losses = softmax_cross_entropy(want, batch.labels)
    np.testing.assert_allclose(sums.loss, losses[:3].sum(), rtol=1e-5)
    assert sums.examples == 3


def test_half_precision_leaves_state_and_updates_in_single(quick_jit, make_batch):
    network = models.mlp(3, widths=(4,), dtype=jnp.bfloat16)
    recipe = Recipe(network, optim.adam(1e-4), augment.to_unit_range(), ema_decay=0.9)
    state = init_state(recipe, KEY, (8, 8, 1))
    update = quick_jit(lambda s, b: train_step(recipe, s, b, KEY))
    new, _ = update(state, make_batch(4))
    floats = [x for x in jax.tree.leaves(new) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert {x.dtype for x in floats} == {jnp.dtype("float32")}
    moved = new.params["stage1"]["dense"]["kernel"] - state.params["stage1"]["dense"]["kernel"]
    assert 0 < np.abs(moved).max() < 2e-4  # less than bfloat16 could add to a weight


# Accumulation


@pytest.mark.parametrize(("parts", "clip"), [(2, None), (4, 0.1)])
def test_parts_give_the_update_of_the_whole_batch(lenet, quick_jit, make_batch, parts, clip):
    """Clipped, where it is, after the parts are averaged."""
    recipe, state = lenet
    recipe = dataclasses.replace(recipe, optimizer=optim.sgd(0.05, clip=clip))
    state = state._replace(opt_state=recipe.optimizer.init(state.params))
    batch = make_batch(8)
    whole = quick_jit(lambda s, b: train_step(recipe, s, b, KEY))(state, batch)
    cut = dataclasses.replace(recipe, accumulate=parts)
    close(quick_jit(lambda s, b: train_step(cut, s, b, KEY))(state, batch), whole)


def test_batch_statistics_pass_through_the_parts_in_order(tiny, tiny_state, quick_jit, make_batch):
    batch = make_batch(6)
    recipe = dataclasses.replace(tiny, accumulate=2)
    got, _ = quick_jit(lambda s, b: train_step(recipe, s, b, KEY))(tiny_state, batch)

    @quick_jit
    def one_part(params, model_state, images):
        images = (images.astype(jnp.float32) - 128) / 64
        return tiny.network.apply(
            {"params": params, **model_state}, images, train=True, mutable=["batch_stats"]
        )[1]

    model_state = one_part(tiny_state.params, tiny_state.model_state, batch.images[0::2])
    close(got.model_state, one_part(tiny_state.params, model_state, batch.images[1::2]))


def test_a_batch_that_does_not_divide_is_refused(lenet, make_batch):
    recipe, state = lenet
    recipe = dataclasses.replace(recipe, accumulate=3)
    with pytest.raises(ValueError, match="batch of 8 does not divide into accumulate=3 parts"):
        train_step(recipe, state, make_batch(8), KEY)


# The moving average


def test_the_average_forgets_by_the_formula_and_is_what_is_evaluated(tiny, quick_jit, make_batch):
    """``a += (1 - d) (x - a)`` with ``d = min(decay, (1 + t) / (10 + t))``; statistics too."""
    recipe = dataclasses.replace(tiny, ema_decay=0.15)
    state = quick_jit(lambda key: init_state(recipe, key, (8, 8, 1)))(KEY)
    update = quick_jit(lambda s, b: train_step(recipe, s, b, KEY))
    average = (state.params, state.model_state)
    for t in range(4):
        state, _ = update(state, make_batch(6, seed=t))
        keep = min(0.15, (1 + t) / (10 + t))
        new = (state.params, state.model_state)
        average = jax.tree.map(lambda a, x, keep=keep: keep * a + (1 - keep) * x, average, new)
    close(tuple(state.average), average, rtol=1e-4)

    batch = make_batch(6)
    predict = quick_jit(functools.partial(predict_step, tiny))
    averaged = state._replace(params=average[0], model_state=average[1], average=None)
    logits = predict(state, batch.images)
    np.testing.assert_allclose(logits, predict(averaged, batch.images), rtol=1e-3, atol=1e-4)
    assert not np.allclose(logits, predict(state._replace(average=None), batch.images), atol=1e-3)


# Keys


class Reveal(nn.Module):
    """Logits ``[N, 2]``: the mean of each image, and a number that its dropout key gives."""

    @nn.compact
    def __call__(self, x, *, train=False):
        zero = self.param("bias", nn.initializers.zeros, ())
        drawn = jax.random.uniform(self.make_rng("dropout")) if train else 0.0
        return jnp.stack([x.mean((1, 2, 3)), jnp.full(len(x), drawn)], axis=1) + 0 * zero


REVEAL = Recipe(
    models.Network((("stem", Reveal()),)),
    optim.sgd(0.1),
    lambda key, x: x.astype(jnp.float32),
    augment=lambda key, x: 0 * x + jax.random.uniform(key),
    loss=lambda logits, labels: jnp.where(labels == 0, logits[:, 0], logits[:, 1]),
)
ONE_OF_EACH = Batch(jnp.zeros((2, 4, 4, 1), jnp.uint8), jnp.asarray([0, 1]), jnp.asarray([1.0, 1]))
AUGMENTED, DROPPED = jnp.asarray([1.0, 0]), jnp.asarray([0.0, 1])


def revealed(step, weights, key=KEY):
    """The number that the key of ``augment`` or ``dropout`` gives at a step."""
    state = init_state(REVEAL, key, (4, 4, 1))._replace(step=jnp.int32(step))
    _, sums = train_step(REVEAL, state, ONE_OF_EACH._replace(weights=weights), key)
    return float(sums.loss)


def test_augmentation_has_the_key_of_its_stream_and_step():
    for step in (0, 7):
        key = jax.random.fold_in(stream_key(KEY, "augment", step), 0)
        assert revealed(step, AUGMENTED) == pytest.approx(float(jax.random.uniform(key)))


def test_dropout_draws_anew_at_each_step_of_each_run():
    drawn = [revealed(0, DROPPED), revealed(1, DROPPED), revealed(0, DROPPED, run_key(2))]
    assert len(set(drawn)) == 3 and revealed(1, DROPPED) == drawn[1]


def test_evaluation_does_not_augment():
    state = init_state(REVEAL, KEY, (4, 4, 1))
    images = jnp.full((2, 4, 4, 1), 9, jnp.uint8)
    np.testing.assert_array_equal(predict_step(REVEAL, state, images), [[9.0, 0.0]] * 2)


def test_each_device_augments_with_a_key_of_its_own():
    state = init_state(REVEAL, KEY, (4, 4, 1))
    shares = jax.tree.map(lambda x: jnp.stack([x] * 3), ONE_OF_EACH._replace(weights=AUGMENTED))
    _, sums = jax.vmap(
        lambda share: train_step(REVEAL, state, share, KEY, axis_name="devices"),
        axis_name="devices",
    )(shares)
    keys = [jax.random.fold_in(stream_key(KEY, "augment", 0), d) for d in range(3)]
    want = sum(float(jax.random.uniform(key)) for key in keys)
    np.testing.assert_allclose(sums.loss, [want] * 3, rtol=1e-6)


# A mapped axis


def test_a_mapped_axis_gives_every_share_the_update_of_the_whole(lenet, quick_jit, make_batch):
    recipe, state = lenet
    batch = make_batch(8)
    whole = quick_jit(lambda s, b: train_step(recipe, s, b, KEY))(state, batch)
    shares = jax.tree.map(lambda x: x.reshape(4, 2, *x.shape[1:]), batch)
    mapped = jax.vmap(
        lambda share: train_step(recipe, state, share, KEY, axis_name="i"), axis_name="i"
    )
    got = quick_jit(mapped)(shares)
    for device in range(4):
        close(jax.tree.map(lambda x, d=device: x[d], got), whole)


def test_a_loss_that_is_not_finite_on_one_share_is_known_to_all(lenet, quick_jit, make_batch):
    recipe, state = lenet
    recipe = dataclasses.replace(
        recipe, loss=lambda logits, labels: jnp.where(labels == 9, jnp.nan, logits[:, 0])
    )
    batch = make_batch(4)
    shares = jax.tree.map(
        lambda x: x.reshape(2, 2, *x.shape[1:]), batch._replace(labels=jnp.asarray([0, 0, 0, 9]))
    )
    mapped = jax.vmap(
        lambda share: train_step(recipe, state, share, KEY, axis_name="i")[1].diverged,
        axis_name="i",
    )
    np.testing.assert_array_equal(quick_jit(mapped)(shares), [0, 0])


PMAP = """
import functools, json
import jax, numpy as np
from jax import numpy as jnp
from cnnlab import augment, models, optim
from cnnlab.data.batches import Batch
from cnnlab.keys import run_key
from cnnlab.train import Recipe, init_state, train_step

network = models.lenet5(3, padding="SAME")
prepare = augment.normalize((128.0,), (64.0,))
recipe = Recipe(network, optim.sgd(0.05, weight_decay=0.01), prepare, ema_decay=0.9)
key, devices = run_key(0), jax.device_count()
quick = {"xla_backend_optimization_level": 0}
state = jax.jit(lambda: init_state(recipe, key, (8, 8, 1)), compiler_options=quick)()
on_all = jax.tree.map(lambda x: jnp.stack([x] * devices), state)
alone = jax.jit(lambda s, b: train_step(recipe, s, b, key), compiler_options=quick)
mapped = jax.pmap(
    lambda s, b: train_step(recipe, s, b, key, axis_name="devices"), axis_name="devices"
)
generator = np.random.default_rng(0)
losses = []
for _ in range(3):
    images = generator.integers(0, 256, (8, 8, 8, 1), dtype=np.uint8)
    batch = Batch(images, generator.integers(0, 3, 8).astype(np.int32), np.ones(8, np.float32))
    shares = jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), batch)
    state, sums = alone(state, batch)
    on_all, sums_on_all = mapped(on_all, shares)
    losses.append([float(sums.loss), *np.asarray(sums_on_all.loss).tolist()])
gaps = jax.tree.map(
    lambda one, each: float(np.abs(np.asarray(each) - np.asarray(one)).max()), state, on_all
)
print(json.dumps({
    "devices": devices,
    "losses": losses,
    "examples": np.asarray(sums_on_all.examples).tolist(),
    "steps": np.asarray(on_all.step).tolist(),
    "gap": max(jax.tree.leaves(gaps)),
}))
"""


def test_under_pmap_the_step_is_that_of_one_device_on_the_whole_batch(run_on_devices):
    got = run_on_devices(4, PMAP)
    assert got["devices"] == 4
    assert got["steps"] == [3] * 4 and got["examples"] == [8] * 4
    assert got["gap"] < 1e-6
    for alone, *mapped in got["losses"]:
        np.testing.assert_allclose(mapped, alone, rtol=1e-5)
