"""Expectations are over many masks; a mean may be off by five of its standard deviations."""

import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import augment, models, optim
from cnnlab.data.batches import Batch
from cnnlab.keys import run_key
from cnnlab.models.dropout import Dropout
from cnnlab.train import Recipe, init_state, train_step

SIGMAS = 5
FORMS = ["inverted", "plain"]


def drop(x: Any, seed: int = 0, **options: Any) -> jax.Array:
    """The output of dropout in training."""
    return Dropout(**options).apply({}, x, train=True, rngs={"dropout": jax.random.key(seed)})


def variance(rate: float, form: str) -> float:
    """Of what a one becomes in training."""
    return rate * (1 - rate) / ((1 - rate) ** 2 if form == "inverted" else 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_training_has_the_mean_of_evaluation(form: Any, rate: float) -> None:
    draws, x = 20_000, jnp.linspace(-2, 3, 8)
    seen = drop(jnp.tile(x, (draws, 1)), rate=rate, form=form)
    expected = Dropout(rate, form).apply({}, x[None], train=False)[0]
    np.testing.assert_allclose(expected, x if form == "inverted" else (1 - rate) * x, rtol=1e-6)
    allowed = SIGMAS * np.abs(x) * np.sqrt(variance(rate, form) / draws)
    assert (np.abs(seen.mean(0) - expected) <= allowed + 1e-4).all()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("spatial", [False, True])
def test_after_a_linear_layer_training_has_the_mean_of_evaluation(
    form: Any, spatial: bool, quick_jit: Callable[..., Any]
) -> None:
    class Linear(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array, train: bool) -> jax.Array:
            x = Dropout(rate, form, spatial)(x, train)
            return nn.Dense(4)(x.reshape(x.shape[0], -1))

    draws, rate = 5_000, 0.3
    generator = np.random.default_rng(0)
    x = generator.normal(size=(1, 2, 3, 5)).astype(np.float32) + 1
    layer = Linear()
    variables = layer.init(jax.random.key(0), x, train=False)

    @quick_jit
    def many(keys: jax.Array) -> jax.Array:
        return jax.vmap(lambda key: layer.apply(variables, x, train=True, rngs={"dropout": key}))(
            keys
        )

    seen = many(jax.random.split(jax.random.key(1), draws))[:, 0]
    kernel = np.asarray(variables["params"]["Dense_0"]["kernel"]).reshape(6, 5, 4)
    parts = kernel * x.reshape(6, 5, 1)
    parts = parts.sum(0) if spatial else parts.reshape(30, 4)  # what is kept or dropped as one
    deviation = np.sqrt(variance(rate, form) * (parts**2).sum(0))
    off = np.abs(seen.mean(0) - layer.apply(variables, x, train=False)[0])
    assert (off <= SIGMAS * deviation / np.sqrt(draws)).all()
    np.testing.assert_allclose(seen.std(0), deviation, rtol=0.1)


def test_the_forms_differ_by_the_rate_that_is_kept() -> None:
    x = jnp.linspace(1, 2, 60).reshape(3, 20)
    inverted, plain = (drop(x, rate=0.25, form=form) for form in FORMS)
    np.testing.assert_allclose(plain, 0.75 * inverted, rtol=1e-6)
    kept = plain != 0
    np.testing.assert_array_equal(plain[kept], x[kept])


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_so_many_units_are_dropped_each_on_its_own(rate: float) -> None:
    dropped = np.asarray(drop(jnp.ones((400, 10, 10)), rate=rate) == 0)
    allowed = SIGMAS * np.sqrt(rate * (1 - rate))
    assert abs(dropped.mean() - rate) < allowed / np.sqrt(dropped.size)
    both = dropped[:, 1:] & dropped[:, :-1]  # neighbours: rate^2 if they know nothing of each other
    assert abs(both.mean() - rate**2) < 2 * allowed / np.sqrt(both.size)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_spatial_dropout_drops_whole_maps_at_the_rate(rate: float) -> None:
    y = np.asarray(drop(jnp.ones((200, 3, 4, 50)), rate=rate, spatial=True))
    maps = y.reshape(200, 12, 50)
    np.testing.assert_array_equal(maps, np.broadcast_to(maps[:, :1], maps.shape))
    dropped = maps[:, 0] == 0
    allowed = SIGMAS * np.sqrt(rate * (1 - rate))
    assert abs(dropped.mean() - rate) < allowed / np.sqrt(dropped.size)
    by_example, by_channel = dropped.mean(1), dropped.mean(0)  # no draw is shared by either
    assert (np.abs(by_example - rate) < allowed / np.sqrt(50)).all() and by_example.std() > 0
    assert (np.abs(by_channel - rate) < allowed / np.sqrt(200)).all() and by_channel.std() > 0


def test_the_gradient_passes_where_the_unit_was_kept() -> None:
    x = jnp.linspace(1, 2, 40).reshape(2, 20)
    slope = jax.grad(lambda x: drop(x, rate=0.5).sum())(x)
    np.testing.assert_array_equal(slope, jnp.where(drop(x, rate=0.5) != 0, 2.0, 0.0))


def test_what_is_infinite_is_dropped_too() -> None:
    assert set(np.asarray(drop(jnp.full((1, 50), jnp.inf), rate=0.5)).flat) == {0, np.inf}


@pytest.mark.parametrize("form", FORMS)
def test_evaluation_needs_no_key_and_always_gives_the_same(form: Any) -> None:
    x = jnp.linspace(-1, 1, 20).reshape(4, 5)
    once, again = (Dropout(0.5, form).apply({}, x, train=False) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    np.testing.assert_array_equal(once, x if form == "inverted" else x / 2)


def test_the_key_determines_the_mask() -> None:
    x = jnp.ones((4, 50))
    np.testing.assert_array_equal(drop(x, 3, rate=0.5), drop(x, 3, rate=0.5))
    assert (drop(x, 3, rate=0.5) != drop(x, 4, rate=0.5)).any()


def test_two_layers_draw_two_masks() -> None:
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> Any:
            return Dropout(0.5)(x, train=True), Dropout(0.5)(x, train=True)

    one, other = Two().apply({}, jnp.ones((4, 50)), rngs={"dropout": jax.random.key(0)})
    assert (one != other).any()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("train", [False, True])
def test_at_rate_zero_everything_passes_and_no_key_is_needed(form: Any, train: bool) -> None:
    x = jnp.linspace(-1, 1, 20).reshape(4, 5)
    np.testing.assert_array_equal(Dropout(0.0, form).apply({}, x, train=train), x)


@pytest.mark.parametrize("form", FORMS)
def test_bfloat16_stays_bfloat16(form: Any) -> None:
    x = jnp.ones((4, 50), jnp.bfloat16)
    assert drop(x, rate=0.5, form=form).dtype == jnp.bfloat16
    assert Dropout(0.5, form).apply({}, x, train=False).dtype == jnp.bfloat16


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_a_rate_that_is_none_is_refused(rate: float, train: bool) -> None:
    with pytest.raises(ValueError, match=re.escape(f"must be in [0, 1), got {rate}")):
        Dropout(rate).apply({}, jnp.ones((1, 2)), train=train)


def test_a_form_that_is_none_is_refused() -> None:
    bad: Any = "scaled"
    with pytest.raises(ValueError, match='"inverted" or "plain".*\'scaled\''):
        Dropout(0.5, bad).apply({}, jnp.ones((1, 2)), train=False)


# In a training


class Witness(nn.Module):
    """A stage that keeps the mask that its dropout drew last, and counts what came before."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> jax.Array:
        seen = self.variable("witness", "mask", jnp.zeros, (1, 64))
        mask = Dropout(0.5)(jnp.ones((1, 64)), train)
        if train and not self.is_initializing():
            seen.value = mask
        return x


@pytest.fixture(scope="module")
def masks(quick_jit: Callable[..., Any]) -> Callable[..., Any]:
    """``masks(steps, seed=0)``: the mask of every step; and the last state."""
    network = models.Network(
        (("stem", models.perceptron.Flatten()), ("stage1", Witness()), *models.linear(3).stages[1:])
    )
    recipe = Recipe(network, optim.sgd(0.1), augment.normalize((128.0,), (64.0,)))
    batch = Batch(jnp.zeros((2, 4, 4, 1), jnp.uint8), jnp.zeros(2, jnp.int32), jnp.ones(2))
    fresh = quick_jit(lambda key: init_state(recipe, key, (4, 4, 1)))(run_key(0))
    update = quick_jit(lambda state, key: train_step(recipe, state, batch, key)[0])

    def run(steps: int, seed: int = 0, state: Any = None) -> Any:
        state, seen = fresh if state is None else state, []
        for _ in range(steps):
            state = update(state, run_key(seed))
            seen.append(np.asarray(state.model_state["witness"]["stage1"]["mask"]))
        return seen, state

    return run


def test_every_training_step_draws_another_mask(masks: Callable[..., Any]) -> None:
    seen, _ = masks(4)
    assert len({mask.tobytes() for mask in seen}) == 4
    assert all({0.0, 2.0} == set(mask.flat) for mask in seen)


def test_a_replayed_step_draws_the_same_mask_and_another_run_another(
    masks: Callable[..., Any],
) -> None:
    seen, _ = masks(4)
    _, middle = masks(2)
    np.testing.assert_array_equal(masks(2, state=middle)[0], seen[2:])
    assert (masks(1, seed=1)[0][0] != seen[0]).any()
