"""Members that differ in one thing: their start, their images, their hyperparameters, a teacher."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import augment, data, losses, models, optim, train
from cnnlab.ensemble.members import bootstrap, subsets
from cnnlab.mesh import make_mesh
from cnnlab.train.program import steps_in_a_call, teacher_cost

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
    optimizer = optim.sgd(0.01, nesterov=True, weight_decay=0.1)
    alone = trained(dataclasses.replace(varied, optimizer=optimizer), dataset, seeds=(5,))
    np.testing.assert_allclose(kernels(together, 1), kernels(alone, 0), atol=2e-6)
    assert abs(kernels(together, 0) - kernels(alone, 0)).max() > 1e-3


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
        ({"seeds": (1, 1), "subsets": [[3, 4] * 15] * 2}, "must be different.*the same subset"),
    ],
)
def test_members_that_do_not_fit_are_refused(recipe, dataset, settings, message):
    with pytest.raises(ValueError, match=message):
        next(train.fit(recipe, dataset, **SETTINGS, **settings))


# States to begin from


@pytest.fixture(scope="module")
def initial(varied, dataset, quick_jit):
    """Two members at step 0, from elsewhere: on the host, without a moving average."""
    start = quick_jit(lambda key: train.init_state(varied, key, dataset.image_shape))
    state = start(jax.random.key(3))
    return jax.tree.map(lambda x: np.stack([x, x]), state)


def test_members_may_begin_from_the_same_states_with_the_same_seeds(varied, dataset, initial):
    """They differ by the hyperparameters; neither these nor the average are dropped."""
    averaging = dataclasses.replace(varied, ema_decay=0.9)
    given = {"learning_rate_factor": [0.0, 1.0]}
    settings = {"seeds": (3, 3), "hyperparameters": given, "subsets": [list(range(40))] * 2}
    states = trained(averaging, dataset, initial=initial, **settings)
    start = initial.params["stage1"]["dense"]["kernel"]
    assert (kernels(states, 0) == start[0]).all() and (kernels(states, 1) != start[1]).any()
    averaged = states.average.params["stage1"]["dense"]["kernel"]
    assert (averaged[0] == start[0]).all() and (averaged[1] != start[1]).any()
    options = train.FitOptions(initial=states, seeds=(3, 3), epochs=9, batch_size=20)
    first = next(train.steps(varied, dataset, None, options))
    assert first.states.average is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": (0, 1, 2)}, "M = 3 members, one for each seed, got 2"),
        ({"init_seeds": (1, 2)}, "from initial and from init_seeds"),
        ({"change": {"step": np.full(2, 12)}}, "before the end of the training, 12, got 12. Set"),
        ({"change": {"step": np.int32(0)}}, "got one state without a leading axis.*x\\[None\\]"),
        ({"change": {"opt_state": ()}}, "network and optimizer, got 0 arrays in their opt_state"),
        ({"hyperparameters": {"momentum": [0.5, 0.5]}}, "unknown hyperparameter 'momentum'"),
    ],
)
def test_invalid_initial_states_are_refused(varied, dataset, initial, settings, message):
    settings = {"seeds": (0, 1), **settings}
    initial = initial._replace(**settings.pop("change", {}))
    with pytest.raises(ValueError, match=message):
        next(train.fit(varied, dataset, initial=initial, **SETTINGS, **settings))


@pytest.mark.parametrize("values", [[0.1], [0.1, -0.1]])
def test_hyperparameters_are_one_number_not_negative_a_member(varied, dataset, values):
    with pytest.raises(ValueError, match="a number >= 0 for each of"):
        next(
            train.fit(
                varied, dataset, seeds=(0, 1), hyperparameters={"weight_decay": values}, **SETTINGS
            )
        )


# A teacher


def pulled(logits, labels, targets=None):
    """The distance from the teacher's logits; without a teacher, the usual loss."""
    if targets is None:
        return losses.softmax_cross_entropy(logits, labels)
    return jnp.sum((logits - targets) ** 2, axis=-1)


def test_teacher_targets_of_each_example_reach_the_loss_in_any_order(dataset):
    """A student that can copy its teacher exactly does: both are linear."""
    images = dataset.images.reshape(len(dataset), -1) / 255.0
    weights = np.random.Generator(np.random.PCG64(0)).normal(size=(25, 3))
    targets = (images @ weights).astype(np.float32)
    with_targets = data.Dataset(
        dataset.images, dataset.labels, dataset.class_names, "with_targets", targets=targets
    )
    recipe = train.Recipe(models.linear(3), optim.sgd(0.02), augment.to_unit_range(), loss=pulled)
    for stream in (False, True):
        *_, last = train.fit(recipe, with_targets, epochs=60, batch_size=20, stream=stream)
        actual = train.predict(recipe, last.states, with_targets)[0]
        assert np.abs(actual - targets).mean() < 0.05 * np.abs(targets).mean()


def test_a_loss_that_takes_no_targets_is_refused_where_there_are_some(recipe, dataset):
    with_targets = dataclasses.replace(dataset, targets=np.zeros((len(dataset), 3), np.float32))
    smoothed = functools.partial(losses.softmax_cross_entropy, label_smoothing=0.1)
    living = dataclasses.replace(recipe, loss=smoothed, teacher=lambda images: images)
    for student, part in ((recipe, with_targets), (living, dataset)):
        with pytest.raises(ValueError, match=r"must take .*targets.*losses.distillation"):
            next(train.fit(student, part, **SETTINGS))


def test_a_live_teacher_makes_calls_shorter(dataset, recipe):
    """A forward pass besides the student's three: with ten times its arithmetic, 13 for 3."""
    weights = np.zeros((25, 1000), np.float32)

    def teacher(images):
        return images.reshape(len(images), -1) @ weights

    assert teacher_cost(recipe, dataset.image_shape) == 0
    living = dataclasses.replace(recipe, teacher=teacher)
    assert teacher_cost(living, dataset.image_shape) == 25 * 1000
    mesh = make_mesh()
    calls = [steps_in_a_call(2500, 20, mesh, cost) for cost in (0, 25_000)]
    assert calls[0] / calls[1] == pytest.approx(13 / 3, rel=0.01)


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
