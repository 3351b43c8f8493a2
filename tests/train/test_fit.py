"""Training as an iterator: members, resume, streams, stops, divergence."""

import dataclasses

import jax
import numpy as np
import pytest

from cnnlab import augment, data, models, optim, schedules, train
from cnnlab.keys import run_key
from cnnlab.mesh import make_mesh
from cnnlab.train.program import forward_cost, initialise, steps_in_a_call


@pytest.fixture(scope="module")
def splits():
    return data.load("synthetic:150:8x8x1:3")


@pytest.fixture(scope="module")
def recipe(splits):
    statistics = splits.train.statistics
    schedule = schedules.cosine(0.05, 15)
    return train.Recipe(
        models.create("resnet8", 3, width=2),
        optim.sgd(schedule, nesterov=True, weight_decay=5e-4),
        augment.normalize(statistics.mean, statistics.std),
        augment.compose(augment.crop(1), augment.flip()),
        schedule=schedule,
        ema_decay=0.9,
    )


SETTINGS = {"epochs": 3, "batch_size": 25, "steps_per_call": 3}


def steps(recipe, part, validation=None, **settings):
    return train.steps(recipe, part, validation, train.FitOptions(**settings))


@pytest.fixture(scope="module")
def whole(recipe, splits):
    """Every position of two members, trained at once."""
    return list(steps(recipe, splits.train, splits.validation, seeds=(4, 9), **SETTINGS))


def same(left, right):
    return all(
        (np.asarray(a) == np.asarray(b)).all()
        for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    )


def test_training_learns_and_reports_each_epoch(whole):
    epochs = [at for at in whole if at.metrics is not None]
    assert [at.epoch for at in epochs] == [1, 2, 3]
    assert epochs[-1].step == 3 * whole[0].steps_per_epoch
    assert (epochs[-1].metrics["train/loss"] < epochs[0].metrics["train/loss"]).all()
    assert epochs[0].metrics["train/loss"].shape == (2,)
    assert epochs[-1].metrics["learning_rate"] == pytest.approx(
        0.025 * (1 + np.cos(np.pi * 14 / 15)), rel=1e-4
    )
    assert int(epochs[0].sums.examples[0]) == 25 * whole[0].steps_per_epoch


def test_a_member_in_company_is_the_same_seed_alone(recipe, splits, whole):
    alone = list(train.fit(recipe, splits.train, splits.validation, seeds=(9,), **SETTINGS))
    together = [at for at in whole if at.metrics is not None]
    for one, both in zip(alone, together, strict=True):
        for name in ("train/loss", "validation/loss"):
            np.testing.assert_allclose(one.metrics[name][0], both.metrics[name][1], rtol=1e-4)
    for one, both in zip(
        jax.tree.leaves(alone[-1].states.params),
        jax.tree.leaves(together[-1].states.params),
        strict=True,
    ):
        np.testing.assert_allclose(one[0], both[1], atol=1e-4)


def test_it_goes_on_from_any_position_to_the_same_bits(recipe, splits, whole):
    for at in (whole[1], whole[3]):
        options = train.FitOptions(seeds=(4, 9), **{**SETTINGS, "steps_per_call": 2})
        start = (at.states, at.sums)
        rest = train.steps(recipe, splits.train, splits.validation, options, resume_from=start)
        *_, last = rest
        assert same(last.states, whole[-1].states)
        assert {k: np.asarray(v).tolist() for k, v in last.metrics.items()} == {
            k: np.asarray(v).tolist() for k, v in whole[-1].metrics.items()
        }


def test_a_streamed_training_is_the_resident_one(recipe, splits, whole):
    *_, last = train.fit(
        recipe, splits.train, splits.validation, seeds=(4, 9), stream=True, **SETTINGS
    )
    np.testing.assert_allclose(
        last.metrics["train/loss"], whole[-1].metrics["train/loss"], rtol=1e-4
    )


def test_yielded_states_stay_as_they_were(recipe, splits):
    kept = [
        (at.states, np.array(at.states.params["head"]["classifier"]["dense"]["bias"]))
        for at in train.fit(recipe, splits.train, seeds=(0,), **SETTINGS)
    ]
    for states, then in kept:
        assert (np.asarray(states.params["head"]["classifier"]["dense"]["bias"]) == then).all()


def test_a_stop_ends_at_a_call_and_is_reported(recipe, splits):
    asked = iter([False, True])
    options = train.FitOptions(**SETTINGS)
    stop = lambda: next(asked, True)  # noqa: E731
    positions = list(train.steps(recipe, splits.train, None, options, stop=stop))
    assert positions[-1].stopped and not any(at.stopped for at in positions[:-1])
    assert 0 < positions[-1].step < 3 * positions[-1].steps_per_epoch


def test_the_moving_average_is_what_is_evaluated(recipe, splits, whole):
    states = whole[-1].states
    averaged = train.evaluate(recipe, states, splits.test)
    raw = train.evaluate(recipe, states._replace(average=None), splits.test)
    moved = states._replace(
        params=states.average.params, model_state=states.average.model_state, average=None
    )
    assert (averaged["loss"] != raw["loss"]).all()
    np.testing.assert_allclose(averaged["loss"], train.evaluate(recipe, moved, splits.test)["loss"])


@pytest.mark.parametrize("batch_size", [1, 7, 500])
def test_evaluation_counts_every_example_once_whatever_the_batch(recipe, splits, whole, batch_size):
    test = splits.test.take(np.arange(17))
    logits = train.predict(recipe, whole[-1].states, test)
    assert logits.shape == (2, 17, 3)
    log_probabilities = jax.nn.log_softmax(logits)
    by_hand = -np.asarray(log_probabilities)[:, np.arange(17), test.labels].mean(axis=1)
    actual = train.evaluate(recipe, whole[-1].states, test, batch_size=batch_size)
    np.testing.assert_allclose(actual["loss"], by_hand, rtol=1e-5)
    np.testing.assert_allclose(
        actual["accuracy"], (logits.argmax(-1) == test.labels).mean(axis=1), rtol=1e-7
    )


def test_evaluation_of_what_is_no_stack_of_states_is_refused(recipe, splits, whole):
    with pytest.raises(ValueError, match="leading axis"):
        train.evaluate(recipe, train.member(whole[-1].states, 0), splits.test)
    with pytest.raises(ValueError, match="batch size must be at least 1"):
        train.evaluate(recipe, whole[-1].states, splits.test, batch_size=0)


def test_a_loss_that_is_not_finite_stops_with_step_seed_rate_and_advice(recipe, splits):
    rising = lambda step: 0.05 * 1e30 ** (step > 4)  # noqa: E731
    network = models.mlp(3, widths=(4,))
    hot = dataclasses.replace(recipe, network=network, optimizer=optim.sgd(rising), schedule=rising)
    with pytest.raises(train.DivergedError, match="learning rate is too high") as raised:
        list(train.fit(hot, splits.train, seeds=(4, 9), **SETTINGS))
    assert raised.value.step in (6, 7)
    assert set(raised.value.seeds) <= {4, 9} and raised.value.seeds
    assert f"step {raised.value.step} at the learning rate 5e+28" in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"seeds": ()}, "one or more integers"),
        ({"seeds": (1, 1)}, "seeds must be different"),
        ({"seeds": (-1,)}, "one or more integers"),
        ({"batch_size": 1000}, "has only 135"),
        ({"remainder": "keep"}, '"drop" or "wrap"'),
        ({"steps_per_call": 0}, "steps_per_call must be at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(recipe, splits, settings, message):
    with pytest.raises(ValueError, match=message):
        next(steps(recipe, splits.train, **{**SETTINGS, **settings}))


def test_calls_are_longer_for_smaller_networks(recipe, splits):
    mesh = make_mesh()
    small, larger = (forward_cost(recipe, (side, side, 1)) for side in (8, 32))
    assert larger == pytest.approx(16 * small, rel=0.01)
    assert steps_in_a_call(small, 32, mesh) >= 15 * steps_in_a_call(larger, 32, mesh) >= 15
    _, cost = initialise(recipe, splits.train, np.arange(2, dtype=np.uint32), make_mesh(2))
    assert cost == small


def test_a_start_that_looks_at_images_is_that_of_each_seed_alone(recipe, splits, quick_jit):
    """Of two members at once, and of the state that is made by hand."""
    init = models.init.create("lsuv", examples=8)
    recipe = dataclasses.replace(recipe, network=models.mlp(3, widths=(4,)), init=init)
    examples = train.init_examples(recipe, splits.train)
    assert examples.shape == (8, 8, 8, 1) and (examples[-1] == splits.train.images[-1]).all()

    positions = steps(recipe, splits.train, epochs=1, batch_size=25, seeds=(4, 9))
    together = next(positions).states.params
    start = quick_jit(lambda seed: train.init_state(recipe, run_key(seed), (8, 8, 1), examples))
    for index, seed in enumerate((4, 9)):
        alone = start(np.uint32(seed)).params
        for actual, wanted in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(actual[index], wanted, rtol=2e-3, atol=2e-4)


def test_a_start_that_wants_more_images_than_there_are_is_refused(recipe, splits):
    recipe = dataclasses.replace(recipe, init=models.init.create("lsuv", examples=500))
    with pytest.raises(ValueError, match="'lsuv' looks at 500 images, but .* give it fewer"):
        train.init_examples(recipe, splits.train)
    with pytest.raises(ValueError, match="looks at 500 training images, got 1"):
        train.init_state(recipe, run_key(0), (8, 8, 1))


def test_programs_are_shared_by_recipes_that_only_start_otherwise(recipe):
    other = dataclasses.replace(recipe, init=models.init.create("he"))
    assert other == recipe and hash(other) == hash(recipe) and other.init != recipe.init


def test_invalid_trainings_are_refused_before_anything_is_computed(recipe, splits):
    train.check_fits(recipe, splits.train)
    unet = dataclasses.replace(recipe, network=models.unet(3, width=1, depth=1))
    with pytest.raises(ValueError, match=r"logits \[N, 3\].*\(2, 8, 8, 3\).*no classifier"):
        train.check_fits(unet, splits.train)
    more = dataclasses.replace(recipe, network=models.mlp(4))
    with pytest.raises(ValueError, match=r"logits \[N, 3\].*got \(2, 4\)"):
        train.check_fits(more, splits.train)


def test_what_is_no_dataset_is_refused_with_one_that_is(recipe, splits):
    for given, message in [
        (splits, "train must be a Dataset, such as splits.train, got Splits"),
        ((splits.train.images, splits.train.labels), "train must be a Dataset, .* got tuple"),
    ]:
        with pytest.raises(ValueError, match=message):
            next(train.fit(recipe, given, epochs=1))
    with pytest.raises(ValueError, match="validation must be a Dataset, such as splits.validation"):
        next(train.fit(recipe, splits.train, splits, epochs=1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 1.5}, "epochs must be a whole number of at least 1, got 1.5"),
        ({"batch_size": "64"}, "batch_size must be a whole number of at least 1, got '64'"),
        ({"seeds": 3}, r"one for each member, got 3: range\(3\) for three"),
    ],
)
def test_options_of_another_kind_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        train.FitOptions(**{"epochs": 1, **settings})
