"""Members that differ in one thing: their start, their images, their hyperparameters, a teacher."""

import functools

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import augment, data, losses, models, optim, train
from cnnlab.ensemble.members import bootstrap, subsets

SETTINGS = {"epochs": 2, "batch_size": 20}


@pytest.fixture(scope="module")
def dataset():
    return data.load("synthetic:120:5x5x1:3", validation=None).train


def make(dataset, **settings):
    optimizer = optim.create("nesterov", 0.05, weight_decay=1e-3, **settings)
    statistics = dataset.statistics
    prepare = augment.normalize(statistics.mean, statistics.std)
    return train.Recipe(models.mlp(3, widths=(6,)), optimizer, prepare)


@pytest.fixture(scope="module")
def recipe(dataset):
    return make(dataset)


@pytest.fixture(scope="module")
def varied(dataset):
    return make(dataset, varied=True)


def trained(recipe, dataset, **settings):
    *_, last = train.fit(recipe, dataset, **SETTINGS, **settings)
    return last.states


def kernels(states, member):
    return np.asarray(states.params["stage1"]["dense"]["kernel"][member])


def test_one_start_in_two_orders_and_two_starts_in_one_order(recipe, dataset):
    both = trained(recipe, dataset, seeds=(3, 4))
    starts = trained(recipe, dataset, seeds=(3, 3), init_seeds=(3, 4))
    orders = trained(recipe, dataset, seeds=(3, 4), init_seeds=(3, 3))
    for other in (starts, orders):  # the first member is the plain one, the second is neither
        np.testing.assert_allclose(kernels(other, 0), kernels(both, 0), atol=1e-6)
        assert abs(kernels(other, 1) - kernels(both, 1)).max() > 1e-3
    assert abs(kernels(starts, 1) - kernels(orders, 1)).max() > 1e-3
    # Two starts from one point stay closer than two from different ones.
    near = abs(kernels(orders, 0) - kernels(orders, 1)).mean()
    assert near < 0.5 * abs(kernels(starts, 0) - kernels(starts, 1)).mean()


def test_a_member_of_a_bag_is_the_network_trained_on_what_it_holds(recipe, dataset):
    """With one order: the images of the subset as a data set of their own."""
    chosen = subsets(len(dataset), 2, 0.5, seed=1)
    bagged = trained(recipe, dataset, seeds=(7, 7), init_seeds=(1, 2), subsets=chosen)
    for member in (0, 1):
        own = dataset.take(chosen[member])
        alone = trained(recipe, own, seeds=(7,), init_seeds=(member + 1,))
        np.testing.assert_allclose(kernels(bagged, member), kernels(alone, 0), atol=1e-6)


def test_a_streamed_bag_is_the_resident_one(recipe, dataset):
    chosen = bootstrap(len(dataset), 2)
    resident = trained(recipe, dataset, seeds=(0, 1), subsets=chosen)
    streamed = trained(recipe, dataset, seeds=(0, 1), subsets=chosen, stream=True)
    np.testing.assert_allclose(kernels(resident, 1), kernels(streamed, 1), atol=1e-6)


def test_hyperparameters_of_a_member_are_those_of_a_training_alone(varied, dataset):
    given = {"learning_rate_factor": [1.0, 0.2], "weight_decay": [1e-3, 0.1]}
    together = trained(varied, dataset, seeds=(5, 5), hyperparameters=given)
    for member, (rate, decay) in enumerate([(0.05, 1e-3), (0.01, 0.1)]):
        optimizer = optim.sgd(rate, nesterov=True, weight_decay=decay)
        alone = trained(
            varied.__class__(varied.network, optimizer, varied.prepare), dataset, seeds=(5,)
        )
        np.testing.assert_allclose(kernels(together, member), kernels(alone, 0), atol=2e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": (1, 1), "init_seeds": (2, 2)}, "must be different"),
        ({"seeds": (1, 2), "init_seeds": (1,)}, "one for each of 2 seeds"),
        ({"subsets": np.zeros((2, 30), int)}, "a row for each of 1 members"),
        ({"subsets": np.full((1, 30), 120)}, "indices into 120 training examples"),
        ({"subsets": np.zeros((1, 30))}, "must be integers"),
        ({"hyperparameters": {"momentum": [0.5]}}, "unknown hyperparameter 'momentum'"),
        ({"hyperparameters": {"weight_decay": [0.5]}}, "create\\(..., varied=True\\)"),
    ],
)
def test_members_that_do_not_fit_are_refused(recipe, dataset, settings, message):
    with pytest.raises(ValueError, match=message):
        next(train.steps(recipe, dataset, **SETTINGS, **settings))


@pytest.mark.parametrize("values", [[0.1], [0.1, -0.1]])
def test_hyperparameters_are_one_number_not_negative_a_member(varied, dataset, values):
    with pytest.raises(ValueError, match="a number >= 0 for each of"):
        next(
            train.steps(
                varied, dataset, seeds=(0, 1), hyperparameters={"weight_decay": values}, **SETTINGS
            )
        )


# A teacher


def pulled(logits, labels, targets=None):
    """The distance from what the teacher says; without one, the usual loss."""
    if targets is None:
        return losses.softmax_cross_entropy(logits, labels)
    return jnp.sum((logits - targets) ** 2, axis=-1)


def test_what_a_teacher_said_of_each_example_reaches_the_loss_in_any_order(dataset):
    """A student that can copy its teacher exactly does: both are linear."""
    images = dataset.images.reshape(len(dataset), -1) / 255.0
    weights = np.random.Generator(np.random.PCG64(0)).normal(size=(25, 3))
    targets = (images @ weights).astype(np.float32)
    taught = data.Dataset(
        dataset.images, dataset.labels, dataset.class_names, "taught", targets=targets
    )
    recipe = train.Recipe(models.linear(3), optim.sgd(0.02), augment.to_unit_range(), loss=pulled)
    for stream in (False, True):
        *_, last = train.fit(recipe, taught, epochs=60, batch_size=20, stream=stream)
        found = train.predict(recipe, last.states, taught)[0]
        assert np.abs(found - targets).mean() < 0.05 * np.abs(targets).mean()


def test_a_live_teacher_sees_the_student_s_own_augmented_images(dataset, quick_jit, make_batch):
    """The teacher's logits are sums of pixels: the loss at a zero student is their square."""

    def teacher(images):
        return jnp.stack([images.sum((1, 2, 3))] * 3, axis=-1)

    def doubled(key, images):
        del key
        return 2 * images

    recipe = train.Recipe(
        models.linear(3),
        optim.sgd(1e-9),
        augment.to_unit_range(),
        doubled,
        pulled,
        teacher=teacher,
    )
    batch = make_batch(8, (5, 5, 1))
    key = jax.random.key(0)
    state = quick_jit(lambda key: train.init_state(recipe, key, (5, 5, 1)))(key)
    step = quick_jit(functools.partial(train.train_step, recipe))
    _, sums = step(state, batch, key)
    pixels = 2 * np.asarray(batch.images, np.float64).sum((1, 2, 3)) / 255
    np.testing.assert_allclose(float(sums.loss), (3 * pixels**2).sum(), rtol=1e-5)
