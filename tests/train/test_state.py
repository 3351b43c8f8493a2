"""A fresh state, and the recipe that it is made by."""

import dataclasses

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import augment, models, optim
from cnnlab.keys import run_key, stream_key
from cnnlab.train import Recipe, init_state
from cnnlab.train.state import Average


@pytest.fixture(scope="module")
def small():
    """A recipe without BatchNorm, and its state for seed 3."""
    recipe = Recipe(models.mlp(3, widths=(4,)), optim.sgd(0.1), augment.to_unit_range())
    return recipe, init_state(recipe, run_key(3), (2, 5, 1))


def test_a_fresh_state_has_done_no_step(small):
    _, state = small
    assert state.step == 0 and state.step.dtype == jnp.int32
    assert state.model_state == {} and state.average is None


def test_parameters_fit_the_images_and_come_from_the_init_stream(small):
    recipe, state = small
    want = recipe.network.init(stream_key(run_key(3), "init"), jnp.zeros((1, 2, 5, 1)))["params"]
    jax.tree.map(np.testing.assert_array_equal, state.params, want)
    assert state.params["stage1"]["dense"]["kernel"].shape == (10, 4)


def test_other_seeds_have_other_weights(small):
    recipe, state = small
    other = init_state(recipe, run_key(4), (2, 5, 1))
    kernels = [s.params["stage1"]["dense"]["kernel"] for s in (state, other)]
    assert not np.allclose(*kernels)


def test_the_network_sees_prepared_images():
    """``prepare`` may change the shape: weights fit what comes out of it."""
    recipe = Recipe(
        models.linear(2), optim.sgd(0.1), lambda key, x: x[:, ::2, ::2].astype(jnp.float32)
    )
    state = init_state(recipe, run_key(0), (4, 6, 1))
    assert state.params["head"]["dense"]["kernel"].shape == (2 * 3, 2)


def test_batch_statistics_are_no_parameters(tiny_state):
    assert set(tiny_state.model_state) == {"batch_stats"}
    assert set(tiny_state.model_state["batch_stats"]) == {"stem", "stage1", "stage2", "stage3"}
    assert {leaf.dtype for leaf in jax.tree.leaves(tiny_state.params)} == {jnp.dtype("float32")}


def test_the_moving_average_starts_at_the_network(small):
    recipe, state = small
    averaged = init_state(dataclasses.replace(recipe, ema_decay=0.9), run_key(3), (2, 5, 1))
    assert averaged.average.model_state == {}
    jax.tree.map(np.testing.assert_array_equal, averaged.average.params, state.params)


def test_the_moving_average_is_evaluated_or_else_the_network(small, tiny_state):
    _, state = small
    for network in (state, tiny_state):
        assert network.evaluated.params is network.params
        assert network.evaluated.model_state is network.model_state
    average = Average(jax.tree.map(jnp.zeros_like, state.params), {})
    assert state._replace(average=average).evaluated is average


def test_members_are_made_by_vmap(small, quick_jit):
    recipe, state = small
    made = jax.vmap(lambda seed: init_state(recipe, run_key(seed), (2, 5, 1)))
    states = quick_jit(made)(jnp.asarray([9, 3], jnp.uint32))
    assert states.step.shape == (2,)
    jax.tree.map(
        lambda all_, one: np.testing.assert_allclose(all_[1], one, rtol=1e-6),
        states.params,
        state.params,
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"accumulate": 0}, "accumulate must be at least 1 part, got 0"),
        ({"ema_decay": 1.0}, r"ema_decay must be in \(0, 1\) or None, got 1.0"),
        ({"ema_decay": 0.0}, r"ema_decay must be in \(0, 1\) or None"),
        ({"ema_decay": float("nan")}, r"ema_decay must be in \(0, 1\) or None"),
    ],
)
def test_a_recipe_out_of_range_is_refused(small, setting, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(small[0], **setting)


def test_equal_recipes_are_one_key_of_a_cache(small):
    recipe, _ = small
    assert dataclasses.replace(recipe) == recipe
    assert hash(dataclasses.replace(recipe)) == hash(recipe)
    assert dataclasses.replace(recipe, accumulate=2) != recipe
