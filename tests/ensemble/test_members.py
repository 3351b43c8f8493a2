"""Bootstraps and subsets of members, and states of several trainings as one ensemble."""

import dataclasses

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import data, models, optim
from cnnlab.ensemble.members import bootstrap, concatenate_members, subsets
from cnnlab.train import Average, predict, states_of


def test_a_bootstrap_draws_with_replacement_and_holds_two_thirds():
    """1 - 1/e of the examples on average, each 0, 1, 2 … times as a Poisson variable of mean 1."""
    indices = bootstrap(20_000, 3, seed=5)
    assert indices.shape == (3, 20_000) and indices.dtype == np.int32
    for row in indices:
        times = np.bincount(row, minlength=20_000)
        actual = np.bincount(times, minlength=4)[:4] / 20_000
        wanted = np.exp(-1) / np.array([1, 1, 2, 6])
        np.testing.assert_allclose(actual, wanted, atol=0.012)
    assert (bootstrap(20_000, 2, seed=5) == indices[:2]).all()
    assert not (bootstrap(20_000, 3, seed=6) == indices).all()
    assert not (indices[0] == indices[1]).all()


def test_a_subset_holds_no_example_twice():
    indices = subsets(100, 4, 0.3)
    assert indices.shape == (4, 30)
    assert all(
        len(set(row)) == 30 and row.min() >= 0 and row.max() < 100
        for row in indices.tolist()
        for row in [np.array(row)]
    )
    assert len({tuple(row) for row in indices.tolist()}) == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bootstrap(0, 2), "at least one example"),
        (lambda: bootstrap(5, 0), "at least one example and one member"),
        (lambda: subsets(5, 2, 1.0), r"in \(0, 1\)"),
        (lambda: subsets(5, 2, 0.05), "is none"),
    ],
)
def test_no_examples_or_members_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.fixture(scope="module")
def networks(quick_jit, tiny):
    """Two states of one member, of linear networks with random weights, and their recipe."""
    recipe = dataclasses.replace(tiny, network=models.linear(3))
    generator = np.random.Generator(np.random.PCG64(0))

    def one():
        kernel = jnp.asarray(generator.normal(size=(64, 3)), jnp.float32)
        return states_of(
            recipe, {"params": {"head": {"dense": {"kernel": kernel, "bias": jnp.zeros(3)}}}}
        )

    return recipe, one(), one()


def test_concatenated_states_predict_as_each_did(networks):
    recipe, left, right = networks
    part = data.load("synthetic:30:8x8x1:3").test
    both = predict(recipe, concatenate_members([left, right]), part)
    assert both.shape[0] == 2
    for member, states in zip(both, (left, right), strict=True):
        np.testing.assert_allclose(member, predict(recipe, states, part)[0], rtol=1e-6)


def test_an_empty_ensemble_and_members_of_other_shapes_are_refused(networks):
    _, left, _ = networks
    with pytest.raises(ValueError, match="at least one member"):
        concatenate_members([])
    other = left._replace(params=jax.tree.map(lambda x: x[..., :2], left.params))
    message = r"part 0 and part 1 differ in 2 arrays: .*bias.*\[3\] and float32\[2\]"
    with pytest.raises(ValueError, match=message):
        concatenate_members([left, other])


def test_other_optimizers_are_left_out_and_other_averages_are_named(networks):
    recipe, left, right = networks
    adam = dataclasses.replace(recipe, optimizer=optim.create("adam", 0.1))
    other = states_of(adam, {"params": jax.tree.map(lambda x: x[0], right.params)})
    both = concatenate_members([left, other])
    assert both.opt_state == () and jax.tree.leaves(concatenate_members([left, right]).opt_state)
    part = data.load("synthetic:30:8x8x1:3").test
    np.testing.assert_array_equal(
        predict(recipe, both, part), predict(recipe, concatenate_members([left, right]), part)
    )
    averaging = right._replace(average=Average(right.params, {}))
    with pytest.raises(ValueError, match=r"all or none must have a moving average.*\.average"):
        concatenate_members([left, averaging])


def test_one_state_and_states_without_members_are_refused(networks):
    _, left, _ = networks
    with pytest.raises(ValueError, match=r"got one TrainState: \[states\]"):
        concatenate_members(left)
    with pytest.raises(ValueError, match=r"a step of shape \(\) for part 1.*x\[None\]"):
        concatenate_members([left, jax.tree.map(lambda x: x[0], left)])
