"""Averages of weights, against NumPy in float64 and soups computed by hand."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import augment, data, models, optim, train
from cnnlab.ensemble.averages import RunningAverage, SoupStep, average, average_members, greedy_soup
from cnnlab.keys import run_key

SHAPE = (4, 4, 1)


def recipe_of(network, **settings):
    return train.Recipe(network, optim.sgd(0.1), augment.to_unit_range(), **settings)


@pytest.fixture(scope="module")
def recipe():
    return recipe_of(models.mlp(3, widths=(5,), norm="batch"), ema_decay=0.9)


@pytest.fixture(scope="module")
def shapes(recipe):
    return jax.eval_shape(
        functools.partial(train.init_state, recipe, image_shape=SHAPE), run_key(0)
    )


@pytest.fixture(scope="module")
def states(shapes):
    """Three states of one network, with two members each: random numbers of every magnitude."""
    generator = np.random.Generator(np.random.PCG64(0))

    def draw(leaf):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return jnp.full((2, *leaf.shape), next(counts), leaf.dtype)
        numbers = generator.normal(size=(2, *leaf.shape)) * 10.0 ** generator.integers(-6, 6)
        return jnp.asarray(numbers, leaf.dtype)

    actual = []
    for number in range(3):
        counts = iter([10 * number] * 99)
        actual.append(jax.tree.map(draw, shapes))
    return actual


@pytest.fixture(scope="module")
def splits():
    return data.load("synthetic:150:4x4x1:3", validation=0.3)


def leaves_of(tree):
    return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(tree)]


def same(actual, wanted):
    jax.tree.map(np.testing.assert_array_equal, actual, wanted)


@pytest.mark.parametrize("weights", [None, (1, 5, 2)])
def test_an_average_is_the_mean_to_float_precision(states, weights):
    actual = average(states, weights)
    for field in ("params", "model_state"):
        each = [leaves_of(getattr(state, field)) for state in states]
        for mean, *leaves in zip(jax.tree.leaves(getattr(actual, field)), *each, strict=True):
            wanted = np.average(leaves, axis=0, weights=weights)
            assert mean.dtype == jnp.float32
            scale = np.abs(leaves).max(axis=0)
            assert (np.abs(mean - wanted) <= 2.0**-24 * scale).all()
    same(actual.step, states[-1].step)
    same(actual.opt_state, states[-1].opt_state)
    assert actual.average is None  # the averaged parameters are evaluated


def test_an_average_of_one_kind_of_network_is_that_network_bitwise(states):
    plain = states[0]._replace(average=None)
    same(average([states[0]] * 7), plain)
    same(average(states, (3, 0, 0)).params, plain.params)
    bad = jax.tree.map(lambda leaf: leaf * jnp.nan, states[1].params)
    without = average([states[0], states[1]._replace(params=bad)], (1, 0))
    same(without.params, plain.params)
    one = jax.tree.map(lambda leaf: jnp.stack([leaf[0]] * 3), states[0])
    same(average_members(one), jax.tree.map(lambda leaf: leaf[:1], plain))


def test_the_average_of_members_is_that_of_the_networks(states):
    wanted = average([train.member(states[0], 0), train.member(states[0], 1)], (1, 3))
    same(train.member(average_members(states[0], (1, 3)), 0), wanted)


def test_a_running_average_is_the_average(states, quick_jit):
    add = quick_jit(RunningAverage.add)
    running = RunningAverage.start(states[0])
    for state in states[1:]:
        running = add(running, state)
    np.testing.assert_array_equal(running.averaged, [3, 3])
    actual, wanted = running.states(states[-1]), average(states)
    for mean, exact, *each in zip(
        *(leaves_of(s.params) for s in (actual, wanted, *states)), strict=True
    ):
        assert (np.abs(mean - exact) <= 2.0**-22 * np.abs(each).max(axis=0)).all()
    same(actual.model_state, states[-1].model_state)
    same(actual.step, states[-1].step)
    assert actual.average is None
    alone = RunningAverage.start(train.member(states[0], 0))
    for state in states[1:]:
        alone = alone.add(train.member(state, 0))
    same(alone.states(train.member(states[-1], 0)).params, train.member(actual, 0).params)


def test_a_running_average_of_half_precision_loses_nothing():
    """1 + 1/256 is no bfloat16: a mean kept in bfloat16 would stay where it is."""
    params = {"kernel": jnp.ones(3, jnp.bfloat16)}
    state = train.TrainState(jnp.int32(0), params, {}, (), None)
    running = RunningAverage.start(state)
    for _ in range(255):
        running = running.add(state._replace(params={"kernel": jnp.full(3, 2, jnp.bfloat16)}))
    np.testing.assert_allclose(running.params["kernel"], 2 - 1 / 256, rtol=1e-6)
    assert running.states(state).params["kernel"].dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((1, -1, 1), "at least 0"),
        ((0, 0, 0), "not all 0"),
        ((1, float("nan"), 1), "finite"),
        ((1, 1), "one weight for each of the 3"),
    ],
)
def test_invalid_weights_are_refused(states, weights, message):
    with pytest.raises(ValueError, match=message):
        average(states, weights)


def test_networks_that_do_not_fit_are_named(recipe, states, splits):
    with pytest.raises(ValueError, match="at least one network"):
        average([])
    with pytest.raises(ValueError, match="got one. For the mean over its members: average_members"):
        average(states[0])
    with pytest.raises(ValueError, match="at least one network"):
        greedy_soup(recipe, [], splits.validation, splits.train)
    other = recipe_of(models.mlp(3, widths=(6,), norm="batch"))
    shapes = jax.eval_shape(lambda key: train.init_state(other, key, SHAPE), run_key(0))
    wide = jax.tree.map(lambda leaf: np.zeros((2, *leaf.shape), leaf.dtype), shapes)
    message = r"candidate 0 has shape \(2, 5, 3\) at .*kernel.*, candidate 2 has shape \(2, 6, 3\)"
    with pytest.raises(ValueError, match=message):
        average([*states[:2], wide])
    with pytest.raises(ValueError, match=r"candidate 4 has shape \(1, 6, 3\)"):
        greedy_soup(recipe, [*states[:2], wide], splits.validation, splits.train)
    bare = states[1]._replace(model_state={})
    with pytest.raises(ValueError, match=r"shape \(2, 5\) at .*batch_stats.*1 has no such array"):
        average([states[0], bare])
    with pytest.raises(ValueError, match=r"\(2, 3\) at .*, candidate 1 has shape \(3,\)"):
        average([states[0], train.member(states[0], 0)])


# Greedy soups of linear networks ---------------------------------------------------------------


@pytest.fixture(scope="module")
def linear():
    return recipe_of(models.linear(3))


@pytest.fixture(scope="module")
def candidates(linear, splits, quick_jit):
    """Six linear networks: the least-squares solution, disturbed more and more."""
    x, labels = pixels(splits.train), splits.train.labels
    best = np.linalg.lstsq(np.c_[x, np.ones(len(x))], np.eye(3)[labels], rcond=None)[0]
    generator = np.random.Generator(np.random.PCG64(3))
    noise = generator.normal(size=(6, *best.shape)) * np.abs(best).mean()
    each = best + noise * np.array([4, 0.8, 1.5, 0.3, 3, 1])[:, None, None]
    state = quick_jit(lambda key: train.init_state(linear, key, SHAPE))(run_key(0))
    kernel, bias = each[:, :-1].astype(np.float32), each[:, -1].astype(np.float32)
    states = jax.tree.map(lambda leaf: jnp.stack([leaf] * 6), state)
    return states._replace(params={"head": {"dense": {"kernel": kernel, "bias": bias}}})


def pixels(dataset):
    return dataset.images.reshape(len(dataset), -1) / 255


def brute_force(params, dataset):
    """Recipe 1 of the paper, written out for a linear network."""
    kernels, biases = (np.asarray(params[name], np.float64) for name in ("kernel", "bias"))

    def accuracy(members):
        logits = pixels(dataset) @ kernels[members].mean(0) + biases[members].mean(0)
        return (logits.argmax(-1) == dataset.labels).mean()

    ingredients, tries = [], []
    alone = [accuracy([index]) for index in range(len(kernels))]
    for index in sorted(range(len(kernels)), key=lambda i: -alone[i]):
        actual = accuracy([*ingredients, index])
        kept = not ingredients or actual >= accuracy(ingredients)
        if kept:
            ingredients.append(index)
        tries.append((index, alone[index], actual, kept))
    return tuple(ingredients), tries


def test_a_greedy_soup_is_that_of_the_paper(linear, candidates, splits):
    actual = greedy_soup(linear, candidates, splits.validation, splits.train)
    wanted, tries = brute_force(candidates.params["head"]["dense"], splits.validation)
    assert actual.chosen == wanted
    for one, other in zip(actual.history, tries, strict=True):
        assert one == SoupStep(*other[:1], *map(pytest.approx, other[1:3]), other[3])
    # The problem must be one where something is kept and something is not.
    assert 1 < len(wanted) < 6
    chosen = [train.member(candidates, index) for index in wanted]
    same(train.member(actual.states, 0), average(chosen))
    again = greedy_soup(
        linear,
        [train.member(candidates, 0), jax.tree.map(lambda leaf: leaf[1:], candidates)],
        splits.validation,
        splits.train,
    )
    assert again.chosen == actual.chosen and again.history == actual.history


def test_a_soup_of_copies_is_the_network(linear, candidates, splits):
    copies = [train.member(candidates, 3)] * 3
    actual = greedy_soup(linear, copies, splits.validation, splits.train)
    assert actual.chosen == (0, 1, 2) and all(each.kept for each in actual.history)
    same(train.member(actual.states, 0), copies[0])


# Batch normalisation -----------------------------------------------------------------------------


def test_a_soup_has_the_statistics_of_its_own_inputs(recipe, splits, quick_jit):
    """The layer's inputs are a dense layer's outputs, which are computed here."""
    recipe = dataclasses.replace(recipe, ema_decay=None)
    one = quick_jit(lambda key: train.init_state(recipe, key, SHAPE))(run_key(0))
    states = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), one)
    first, last = states.params["stage1"]["dense"], states.params["head"]["dense"]
    first["kernel"] = first["kernel"].at[1].add(0.5)
    last["kernel"] = jnp.zeros_like(last["kernel"])  # it always predicts the same: no soup is worse
    actual = greedy_soup(recipe, states, splits.validation, splits.train, batch_size=10_000)
    assert actual.chosen == (0, 1)
    same(actual.states.params, average_members(states).params)
    dense = train.member(actual.states, 0).params["stage1"]["dense"]
    inputs = pixels(splits.train) @ np.asarray(dense["kernel"]) + np.asarray(dense.get("bias", 0))
    stats = actual.states.model_state["batch_stats"]["stage1"]["norm"]
    np.testing.assert_allclose(stats["mean"][0], inputs.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(stats["var"][0], inputs.var(0), rtol=1e-4, atol=1e-5)
