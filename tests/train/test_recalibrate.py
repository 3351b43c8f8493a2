"""Statistics of batch normalisation from data, against those of everything at once."""

import dataclasses

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import data, optim, train
from cnnlab.models.norms import MOMENTS


@pytest.fixture(scope="module")
def images():
    return data.load("synthetic:90:8x8x1:3").train.take(np.arange(48))


@pytest.fixture(scope="module")
def two(tiny, tiny_state):
    """Two members: the second with all parameters halved."""
    return jax.tree.map(lambda leaf: jnp.stack([leaf, leaf / 2]), tiny_state)


@pytest.fixture(scope="module")
def of_everything(tiny, quick_jit):
    """The moments of every layer when all images are one batch, by the network itself."""

    @quick_jit
    def moments(params, model_state, images):
        x = tiny.prepare(jax.random.key(0), images)
        variables = {"params": params, **model_state}
        return tiny.network.apply(variables, x, train=True, mutable=["batch_stats", MOMENTS])[1]

    return lambda *args: moments(*args)[MOMENTS]


def close(actual, wanted, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), actual, dict(wanted))


def test_one_batch_of_everything_gives_its_moments_for_each_member(
    tiny, two, images, of_everything
):
    actual = train.recalibrate(tiny, two, images, batch_size=10_000)
    for index in range(2):
        one = train.member(two, index)
        wanted = of_everything(one.params, one.model_state, images.images)
        stats = train.member(actual, index).model_state["batch_stats"]
        close(stats, wanted, rtol=1e-4, atol=1e-5)
    changed = [a is not b for a, b in zip(actual, two, strict=True)]
    assert changed == [False, False, True, False, False]


def test_batches_add_up_within_and_between(tiny, two, images):
    """The first layer sees the same inputs whatever the batch: its statistics must be the same."""
    actual = train.recalibrate(tiny, two, images, batch_size=12).model_state["batch_stats"]
    whole = train.recalibrate(tiny, two, images).model_state["batch_stats"]
    close(actual["stem"], whole["stem"], rtol=1e-4, atol=1e-5)
    # Further in they depend on the batch, a little; a mean of variances would be off by more.
    close(actual["stage1"], whole["stage1"], rtol=0.3, atol=0.1)


def test_the_moving_average_is_what_is_recalibrated(tiny, two, images, of_everything):
    recipe = dataclasses.replace(tiny, ema_decay=0.9)
    average = train.Average(jax.tree.map(lambda p: p + 0.1, two.params), two.model_state)
    actual = train.recalibrate(recipe, two._replace(average=average), images)
    assert actual.model_state is two.model_state and actual.average.params is average.params
    params = jax.tree.map(lambda p: p[0], average.params)
    wanted = of_everything(params, train.member(two, 0).model_state, images.images)
    stats = jax.tree.map(lambda s: s[0], actual.average.model_state["batch_stats"])
    close(stats, wanted, rtol=1e-4, atol=1e-5)


def test_a_network_without_statistics_comes_back_as_it_is(images):
    from cnnlab import augment, models

    network = models.mlp(3, widths=(4,))
    recipe = train.Recipe(network, optim.sgd(0.1), augment.to_unit_range())
    state = train.init_state(recipe, jax.random.key(0), (8, 8, 1))
    states = jax.tree.map(lambda leaf: leaf[None], state)
    assert train.recalibrate(recipe, states, images) is states
