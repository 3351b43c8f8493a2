"""Fine-tuning by name: what learns, what is cached, and how it goes on."""

import dataclasses
import pathlib
import time

import jax
import numpy as np
import pytest

from cnnlab import augment, models
from cnnlab.data import Features
from cnnlab.signals import StopSignals
from cnnlab.studies import fine_tuning, study
from cnnlab.studies.build import load_data, make_recipe
from cnnlab.studies.fine_tuning import Tuned
from cnnlab.studies.host import Host
from cnnlab.studies.recipe_settings import Details, parse_rules
from cnnlab.studies.recipes import recipe_rates
from cnnlab.studies.settings import Training
from cnnlab.studies.study import Study, Trained
from cnnlab.train.recorder import Interrupted
from cnnlab.train.state import state_shapes
from cnnlab.transfer import cache

TINY = Training(
    dataset="synthetic:160:4x4x1:4",
    classes=("class2", "class3"),
    validation=None,
    model="mlp",
    model_options=("widths=(8,6)",),
    per_class=12,
    epochs=1,
    warmup_epochs=0,
    batch_size=12,
    learning_rate=0.03,
    crop=0,
    seeds=2,
    quiet=True,
)


def noise(shapes, seed=0):
    """Values in the place of shapes: nothing is compiled."""
    generator = np.random.default_rng(seed)
    return jax.tree.map(lambda s: (0.5 * generator.normal(size=s.shape)).astype(s.dtype), shapes)


# Recipes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "details", "wanted"),
    [
        ("linear", {}, (0, 0, 0, 1)),
        ("top", {}, (0, 0, 0.1, 1)),
        ("top", {"top": 3, "body": 0.5}, (0, 0.5, 0.5, 1)),
        ("all", {}, (0.1, 0.1, 0.1, 1)),
        ("layerwise", {}, (0.01, 0.01, 0.1, 1)),
        ("layerwise", {"decay": 0.5}, (0.125, 0.25, 0.5, 1)),
    ],
)
def test_recipes_learn_at_rates_by_stage(name, details, wanted):
    network = models.create("lenet5_1998", 3)
    params = jax.eval_shape(network.init, jax.random.key(0), np.zeros((1, 32, 32, 1)))["params"]
    stages = [stage for stage in network.names if stage in params]
    assert len(stages) >= 4
    (rates,) = recipe_rates(name, network, params, Details(**details))
    actual = {stage: set(jax.tree.leaves(rates.factors(params)[stage])) for stage in stages}
    for stage, factor in zip(stages[-4:], wanted, strict=True):
        assert list(actual[stage]) == [pytest.approx(factor)], stage


def test_gradual_unfreezing_begins_with_the_head_and_ends_with_all():
    network = models.create("mlp", 3, widths=(4, 4))
    params = jax.eval_shape(network.init, jax.random.key(0), np.zeros((1, 4, 4, 1)))["params"]
    phases = recipe_rates("gradual", network, params)
    learning = [sorted(rates.trainable(params)) for rates in phases]
    assert learning == [["head"], ["head", "stage2"], ["head", "stage1", "stage2"]]
    fronts = [fine_tuning.frozen_front(network, rates, params) for rates in phases]
    assert fronts == ["stage2", "stage1", None]  # the stem alone has no parameters to freeze
    assert recipe_rates("scratch", network, params) == (None,)
    with pytest.raises(ValueError, match="Did you mean 'gradual'"):
        recipe_rates("gradul", network, params)


def test_phases_share_the_epochs_and_the_warm_up():
    config = dataclasses.replace(TINY, epochs=10, warmup_epochs=2.0)
    shares = fine_tuning.share_epochs(config, 4)
    assert [each.epochs for each in shares] == [3, 3, 2, 2]
    assert [each.warmup_epochs for each in shares] == pytest.approx([0.6, 0.6, 0.4, 0.4])


@pytest.fixture
def tuned(tmp_path):
    """``tuned(name, **settings)``: trained by a recipe in a run directory of its own."""
    config = dataclasses.replace(TINY, runs=tmp_path)
    splits = load_data(config)
    recipe = make_recipe(config, splits.train)
    shapes = state_shapes(recipe, splits.train.image_shape)
    variables = noise({"params": shapes.params, **shapes.model_state})
    host = Host(
        lambda line: None, time.perf_counter, time.time, None, pathlib.Path(__file__).parent
    )

    with study.open(config, host) as s:
        s.begin("tune", splits.notes)

        def tune(name, part, changes=None, augmented=None, **details):
            own = dataclasses.replace(config, **(changes or {}))
            recipe = None
            if augmented is not None:
                recipe = dataclasses.replace(make_recipe(own, splits.train), augment=augmented)
            how = Details(**details)
            return fine_tuning.tune(
                name, s, part, variables, splits, config=own, recipe=recipe, details=how
            )

        yield tune, variables


def test_gradual_unfreezing_goes_on_to_the_same_bits(tuned, monkeypatch):
    tune, _ = tuned
    changes = {"epochs": 6, "steps_per_call": 1}
    straight = tune("gradual", "straight", changes)
    asked = iter([False] + [True] * 100)
    with monkeypatch.context() as patch:  # in the first phase, after the cache
        patch.setattr(StopSignals, "__call__", lambda self: next(asked))
        with pytest.raises(Interrupted) as stopped:
            tune("gradual", "stopped", changes)
    folders = [path.name for path in stopped.value.directory.glob("stopped*")]
    assert 0 < stopped.value.step < 4 and sorted(folders) == ["stopped-1", "stopped-1-cache.json"]

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # between the first phase and the second
        patch.setattr(fine_tuning, "restarted", killed)
        with pytest.raises(KeyboardInterrupt):
            tune("gradual", "stopped", changes)
    assert not (stopped.value.directory / "stopped-2").exists()
    again = tune("gradual", "stopped", changes)
    for ours, theirs in zip(*map(jax.tree.leaves, (again.states, straight.states)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (again.front, straight.front) == (None, None)
    np.testing.assert_array_equal(again.accuracy, straight.accuracy)


def test_the_cache_changes_nothing_but_the_time(tuned):
    tune, variables = tuned
    cached = tune("linear", "cached")
    plain = tune("linear", "plain", cache="none")
    assert (cached.front, plain.front) == ("stage2", None)
    np.testing.assert_array_equal(cached.accuracy, plain.accuracy)
    for ours, theirs in zip(*map(jax.tree.leaves, (cached.states, plain.states)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=1e-5)
    for stage in ("stage1", "stage2"):  # bit for bit what was transferred, in every member
        for name, leaf in variables["params"][stage]["dense"].items():
            for member in cached.states.params[stage]["dense"][name]:
                np.testing.assert_array_equal(member, leaf)
    heads = cached.states.params["head"]["dense"]["kernel"]
    assert not np.array_equal(heads[0], heads[1])
    assert "frozen" in cached.table and "head/.*" in cached.table


def test_copies_are_as_many_images_and_updates_in_all(tuned, monkeypatch):
    tune, _ = tuned
    asked = {}

    def train(study, name, recipe, train, validation=None, *, config, options):
        assert config.epochs == options.epochs
        asked[name] = (config.epochs, len(train), float(recipe.schedule(0)), recipe)
        return Trained(options.initial, {}, 0, 1.0)

    def front_features(recipe, states, dataset, up_to, *, copies=0, **settings):
        labels = np.concatenate([dataset.labels] * max(copies, 1))
        features = np.zeros((len(labels), 6), np.float32)
        return Features(features, labels, dataset.class_names, up_to)

    monkeypatch.setattr(Study, "train", train)
    monkeypatch.setattr(cache, "front_features", front_features)
    scored = Tuned("linear", None, None, 0.0, np.zeros(2), None)
    monkeypatch.setattr(fine_tuning, "_score", lambda *_: scored)
    changes = {"crop": 1, "epochs": 6, "warmup_epochs": 0}
    tune("linear", "copies", changes, copies=3)
    tune("linear", "augmented", changes)
    epochs, images, rate, recipe = asked["copies"]
    assert (epochs, images, rate) == (2, 72, pytest.approx(TINY.learning_rate))
    assert float(recipe.schedule(2 * 72 // 12)) == pytest.approx(0, abs=1e-9)
    # Without copies, augmented images have no cache.
    assert asked["augmented"][:2] == (6, 24)
    assert asked["augmented"][3].network.names[0] == "stem"
    # Nor have those of a recipe with an augmentation of its own.
    tune("linear", "own", {"epochs": 6, "warmup_epochs": 0}, augmented=augment.flip())
    assert asked["own"][:2] == (6, 24) and asked["own"][3].network.names[0] == "stem"
    tune("linear", "none", {"epochs": 6, "warmup_epochs": 0}, augmented=augment.identity)
    assert asked["none"][3].network.names[0] != "stem"


def test_rules_are_read_from_the_last_equals_sign():
    assert parse_rules(["stem/.*=0", "(?=stage)stage1/.*=1e-1"]) == (
        ("stem/.*", 0.0),
        ("(?=stage)stage1/.*", 0.1),
    )


def test_gradual_unfreezing_would_freeze_a_body_that_starts_afresh():
    network = models.create("mlp", 3, widths=(4, 4))
    params = jax.eval_shape(network.init, jax.random.key(0), np.zeros((1, 4, 4, 1)))["params"]
    details = Details(reinitialise=("stage2/.*", "head"))
    with pytest.raises(ValueError, match="gradual freezes stage2/dense/bias, stage2/dense/kernel"):
        recipe_rates("gradual", network, params, details)
    assert len(recipe_rates("layerwise", network, params, details)) == 1
