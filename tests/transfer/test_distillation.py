"""Teachers, transfer sets and the bias of a class that was not in them."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from scipy import stats

from cnnlab import augment, data, losses, models, optim, train
from cnnlab.keys import run_key
from cnnlab.train import Average, Recipe, init_state, states_of
from cnnlab.transfer import (
    class_bias,
    gap_closed,
    live_teacher,
    prior_bias,
    teacher_logits,
    with_teacher_targets,
    without_classes,
)

PREPARE = augment.normalize((128.0,), (64.0,))


def softmax(logits):
    return np.asarray(jax.nn.softmax(jnp.asarray(logits), axis=-1))


@pytest.fixture(scope="module")
def dataset():
    return data.load("synthetic:90:6x6x1:3").train


@pytest.fixture(scope="module")
def teachers(quick_jit):
    """Two perceptrons and a wider one: three networks of two architectures."""
    actual = []
    for width, seeds in ((4, 2), (7, 1)):
        recipe = Recipe(models.mlp(3, widths=(width,)), optim.sgd(0.1), PREPARE)
        starts = quick_jit(
            jax.vmap(lambda seed, recipe=recipe: init_state(recipe, run_key(seed), (6, 6, 1)))
        )
        states = starts(jnp.arange(seeds))
        # Logits of several sizes, so that means of logits and of probabilities differ.
        larger = jax.tree.map(lambda x, width=width: width * x, states.params)
        actual.append((recipe, states._replace(params=larger)))
    return actual


@pytest.fixture(scope="module")
def each(teachers, dataset):
    """The logits of the three networks, ``[3, N, K]``."""
    return np.concatenate([train.predict(*teacher, dataset) for teacher in teachers])


def test_the_logits_of_an_ensemble_are_the_mean_of_those_of_its_networks(teachers, dataset, each):
    got = teacher_logits(teachers, dataset)
    assert got.dtype == np.float32 and got.shape == (len(dataset), 3)
    np.testing.assert_allclose(got, (each[0] + each[1] + each[2]) / 3, rtol=1e-5, atol=1e-5)


def test_its_probabilities_are_averaged_at_the_temperature_of_the_loss(teachers, dataset, each):
    for temperature in (1.0, 4.0):
        got = teacher_logits(teachers, dataset, rule="probabilities", temperature=temperature)
        wanted = softmax(each / temperature).mean(axis=0)
        np.testing.assert_allclose(softmax(got / temperature), wanted, rtol=1e-4, atol=1e-6)
    assert not np.allclose(wanted, softmax(each.mean(axis=0) / 4), atol=1e-3)


@pytest.mark.parametrize("rule", ["logits", "probabilities"])
def test_live_and_cached_teachers_agree_on_images_without_augmentation(
    teachers, dataset, rule, quick_jit
):
    student = Recipe(models.linear(3), optim.sgd(0.1), PREPARE)
    live = live_teacher(teachers, student, dataset, rule=rule, temperature=3.0)
    images = student.prepare(jax.random.key(0), jnp.asarray(dataset.images))
    wanted = teacher_logits(teachers, dataset, rule=rule, temperature=3.0)
    np.testing.assert_allclose(quick_jit(live)(images), wanted, rtol=1e-4, atol=1e-4)
    mirrored = np.asarray(quick_jit(live)(images[:, :, ::-1]))
    assert not np.allclose(mirrored, wanted, atol=0.1)


def test_where_there_is_a_moving_average_it_is_the_teacher(teachers, dataset):
    (recipe, states), other = teachers[0], teachers[1]
    averaging = dataclasses.replace(recipe, ema_decay=0.9)
    zeros = jax.tree.map(jnp.zeros_like, states.params)
    moved = states._replace(average=Average(states.params, {}), params=zeros)
    wanted = teacher_logits([(recipe, states), other], dataset)
    both = [(averaging, moved), other]
    np.testing.assert_allclose(teacher_logits(both, dataset), wanted, rtol=1e-5)
    images = recipe.prepare(jax.random.key(0), jnp.asarray(dataset.images))
    live = live_teacher(both, recipe, dataset)
    np.testing.assert_allclose(live(images), wanted, rtol=1e-4, atol=1e-4)


def test_a_student_without_labels_becomes_its_teacher(dataset):
    """A linear teacher of a linear student: the loss of the divergence goes to zero."""
    recipe = Recipe(models.linear(3), optim.sgd(0.02), PREPARE)
    kernel = 0.2 * np.random.Generator(np.random.PCG64(0)).normal(size=(36, 3))

    def linear(kernel):
        dense = {"kernel": np.asarray(kernel, np.float32), "bias": np.zeros(3, np.float32)}
        return states_of(recipe, {"params": {"head": {"dense": dense}}})

    teacher = [(recipe, linear(kernel))]
    logits = teacher_logits(teacher, dataset)
    assert len(set(logits.argmax(1).tolist())) == 3
    blank = dataclasses.replace(dataset, labels=np.zeros_like(dataset.labels))
    settings = {"epochs": 30, "batch_size": 30, "initial": linear(np.zeros((36, 3)))}
    student = dataclasses.replace(
        recipe,
        optimizer=optim.sgd(0.05),
        loss=losses.distillation(2.0, weight=1.0),
        augment=augment.crop(1),
    )
    cached = train.fit(student, with_teacher_targets(blank, logits), **settings)
    student = dataclasses.replace(student, teacher=live_teacher(teacher, student, dataset))
    live = train.fit(student, blank, **settings)
    left = {}
    for name, epochs in (("cached", cached), ("live", live)):
        curve = [epoch.metrics["train/loss"].item() for epoch in epochs]
        left[name] = curve[-1] / curve[0]
    # Live, the teacher sees every crop; the cached logits are those of other images.
    assert left["live"] < 0.02 and left["live"] < 0.5 * left["cached"]


def test_a_teacher_that_does_not_fit_is_refused(teachers, dataset):
    recipe, _ = teachers[0]
    with pytest.raises(ValueError, match="at least one"):
        teacher_logits([], dataset)
    with pytest.raises(ValueError, match=r"one such pair without a list.*\[\(recipe, states\)\]"):
        teacher_logits(teachers[0], dataset)
    with pytest.raises(ValueError, match="Did you mean 'logits'"):
        teacher_logits(teachers, dataset, rule="logit")
    with pytest.raises(ValueError, match="temperature must be positive"):
        teacher_logits(teachers, dataset, temperature=0.0)
    more = dataclasses.replace(dataset, class_names=("a", "b", "c", "d"))
    with pytest.raises(ValueError, match=r"have the 4 classes of .*the same classes"):
        teacher_logits(teachers, more)
    larger = dataclasses.replace(dataset, images=np.zeros((len(dataset), 8, 8, 1), np.uint8))
    with pytest.raises(ValueError, match=r"cannot be run on the images \(8, 8, 1\)"):
        live_teacher(teachers, recipe, larger)
    other = dataclasses.replace(recipe, prepare=augment.to_unit_range())
    with pytest.raises(ValueError, match="must prepare images as its student does"):
        live_teacher(teachers, other, dataset)
    same = dataclasses.replace(recipe, prepare=augment.normalize((128.0,), (64.0,)))
    live_teacher(teachers, same, dataset)


def test_logits_of_other_examples_are_refused(dataset):
    with pytest.raises(ValueError, match="targets"):
        with_teacher_targets(dataset, np.zeros((3, 3)))


def test_a_transfer_set_lacks_a_class_and_keeps_its_name(dataset):
    logits = np.arange(3.0 * len(dataset)).reshape(-1, 3)
    part = without_classes(with_teacher_targets(dataset, logits), [dataset.class_names[1]])
    kept = dataset.labels != 1
    assert part.class_names == dataset.class_names and len(part) == kept.sum()
    np.testing.assert_array_equal(part.labels, dataset.labels[kept])
    np.testing.assert_array_equal(part.images, dataset.images[kept])
    np.testing.assert_array_equal(part.targets, logits[kept])
    assert set(without_classes(dataset, [0, "2"]).labels) == {1}


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([0, 1, 2], "no example is left"),
        ([], "sequence of names"),
        ("0", "sequence of names"),
        ([3], "has classes 0 to 2"),
        (["three"], "has no class 'three'"),
    ],
)
def test_an_impossible_transfer_set_is_refused(dataset, classes, message):
    with pytest.raises(ValueError, match=message):
        without_classes(dataset, classes)


# The bias of a class that the transfer set lacked -----------------------------------------------


def right_with(logits, labels, classes, bias):
    moved = logits.copy()
    moved[:, classes] += bias
    return (moved.argmax(axis=1) == labels).mean()


@pytest.mark.parametrize("classes", [[1], [0, 3]])
@pytest.mark.parametrize("seed", range(6))
def test_no_bias_is_better_than_the_returned_one(seed, classes):
    generator = np.random.Generator(np.random.PCG64(seed))
    logits = generator.normal(size=(40, 4)).astype(np.float32)
    if seed % 2:
        logits = np.round(logits)  # many equal margins
    labels = generator.integers(0, 4, 40)
    logits[np.arange(40), labels] += 1
    logits[:, classes] -= 1.5
    actual = class_bias(logits, labels, classes if len(classes) > 1 else classes[0])
    ends = {float(a - b) for row in logits for a, b in itertools.product(row, row)}
    ends = np.array(sorted(ends))
    tried = [-100.0, *(ends[:-1] + ends[1:]) / 2, 100.0]  # no ties
    best = max(right_with(logits.astype(float), labels, classes, b) for b in tried)
    assert actual.accuracy == pytest.approx(best)
    got = right_with(logits.astype(float), labels, classes, actual.bias)
    assert got == pytest.approx(actual.accuracy)


def test_the_bias_is_the_middle_of_the_best_interval_and_zero_where_nothing_is_gained():
    logits = np.array([[2.0, 0.0], [6.0, 0.0], [9.0, 0.0]])
    assert class_bias(logits, [1, 1, 0], 1) == (7.5, 1.0)
    assert class_bias(logits, [0, 0, 0], 1) == (0.0, 1.0)
    assert class_bias(logits, [1, 1, 1], 1) == (10.0, 1.0)  # beyond the last margin
    assert class_bias(-logits, [0, 0, 0], 1) == (-10.0, 1.0)


def test_a_bias_by_frequency_makes_the_class_as_frequent_as_expected():
    generator = np.random.Generator(np.random.PCG64(0))
    logits = generator.normal(size=(200, 5))
    for classes, frequency in ((2, 0.1), (2, 0.0), (2, 1.0), ([1, 4], 0.3)):
        bias = prior_bias(logits, classes, frequency)
        moved = logits.copy()
        moved[:, classes] += bias
        chosen = np.isin(moved.argmax(axis=1), classes).mean()
        assert chosen == pytest.approx(frequency)


@pytest.mark.parametrize("classes", [[], 5, -1, [0, 1, 2, 3, 4], 1.5])
def test_classes_that_cannot_be_biased_are_refused(classes):
    logits = np.zeros((3, 5))
    with pytest.raises(ValueError, match="classes must be some of 0 to 4"):
        class_bias(logits, [0, 1, 2], classes)
    with pytest.raises(ValueError, match="classes must be some of 0 to 4"):
        prior_bias(logits, classes, 0.5)


def test_logits_and_labels_must_fit():
    with pytest.raises(ValueError, match=r"labels must be \[N\]"):
        class_bias(np.zeros((3, 2)), [0, 1], 1)
    with pytest.raises(ValueError, match="logits must be finite"):
        class_bias(np.full((3, 2), np.nan), [0, 1, 1], 1)
    with pytest.raises(ValueError, match="frequency"):
        prior_bias(np.zeros((3, 2)), 1, 1.5)


# The fraction of the gap -------------------------------------------------------------------------

ALONE, DISTILLED = np.array([14.6, 15.1, 13.9, 14.8]), np.array([7.4, 8.4, 7.1, 7.0])


def test_hintons_student_closes_nine_tenths_of_the_gap():
    """67 errors of the teacher, 146 of the student alone, 74 of the distilled student."""
    actual = gap_closed([146.0], [74.0], 67.0)
    assert actual["fraction"] == pytest.approx(72 / 79) and actual["interval"] is None


def test_the_interval_ends_where_students_t_begins_to_reject_the_ratio():
    actual = gap_closed(ALONE, DISTILLED, 6.7, confidence=0.9)
    low, high = actual["interval"]
    assert low < actual["fraction"] < high
    for ratio in (low, high):
        rest = (ALONE - DISTILLED) - ratio * (ALONE - 6.7)
        assert stats.ttest_1samp(rest, 0).pvalue == pytest.approx(0.1)


def test_a_gap_that_is_none_has_no_fraction_or_no_interval():
    assert gap_closed(ALONE, DISTILLED, 20.0)["fraction"] is None
    unsure = gap_closed(ALONE, DISTILLED, 14.5)
    assert unsure["fraction"] > 1 and unsure["interval"] is None
    with pytest.raises(ValueError, match="same seeds"):
        gap_closed(ALONE, DISTILLED[:3], 1.0)
    with pytest.raises(ValueError, match="confidence"):
        gap_closed(ALONE, DISTILLED, 1.0, confidence=1.0)
