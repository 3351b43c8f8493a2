"""The detection experiment: the starts of its trainings, its claims, and refused settings."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from cnnlab import models
from cnnlab.studies import study
from cnnlab.studies.build import load_data, make_recipe
from cnnlab.studies.study import Study, Trained
from cnnlab.train import TrainState
from cnnlab.transfer.detection import iou
from experiments import detect
from experiments.cli import host
from experiments.detect import experiment, network, training
from experiments.detect.data import compose_scenes

TINY = detect.Config(
    scenes=12,
    test_scenes=30,
    cuts=20,
    model_options=("width=2",),
    heights=(0.35, 0.5),
    hidden=(4,),
    partly=("stem",),
    seeds=2,
    quiet=True,
)


@pytest.fixture(scope="module")
def scenes():
    return compose_scenes(TINY, load_data(TINY))


def oracle(scenes, *, boxes=True):
    """The outputs of a detector that knows each window's class, and its correction."""
    goals = scenes.data.test.annotations
    logits = 12.0 * np.eye(11, dtype=np.float32)[np.maximum(goals[..., 0], 0).astype(int)]
    corrections = goals[..., 1:] if boxes else np.zeros_like(goals[..., 1:])
    return np.concatenate([logits, corrections], axis=-1)


@pytest.fixture(scope="module")
def finished(scenes, tmp_path_factory):
    """The experiment with oracles in the place of trainings; and which trainings there were."""
    asked = {}

    def train(study, name, recipe, train, *, config=None, options=None):
        config = study.config if config is None else config
        asked[name] = (config.epochs, recipe, None if options is None else options.initial)
        zero = np.zeros(config.seeds, np.int32)
        return Trained(TrainState(zero, {}, {}, (), None), {}, 12, 6.0)

    def predict(recipe, states, dataset, **settings):
        outputs = oracle(scenes)
        silent = outputs.copy()
        silent[..., 0] = 20.0  # the second seed finds nothing
        return np.stack([outputs, silent])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "train", train)
        patch.setattr(experiment, "compose_scenes", lambda config, splits: scenes)
        patch.setattr(training, "initial_states", lambda *arguments: "initial")
        patch.setattr(training, "predict", predict)
        patch.setattr(training, "evaluate", lambda *arguments: {"accuracy": np.asarray([0.9, 0.8])})
        directory = tmp_path_factory.mktemp("runs") / "detect"
        result = detect.run(dataclasses.replace(TINY, run_dir=directory))
    return directory, result, asked


def test_each_training_begins_and_learns_as_its_name_says(finished):
    _, _, asked = finished
    assert list(asked) == [
        *("classifier", "fine-tuned", "frozen-up-to-stem", "frozen", "from-scratch"),
        "classes-only",
    ]
    rates = {name: recipe.rates for name, (_, recipe, _) in asked.items()}
    assert rates["fine-tuned"] is None and rates["from-scratch"] is None
    front = ("stem", "stage1", "stage2")
    recipe = asked["frozen"][1]
    image = jax.ShapeDtypeStruct((1, 32, 32, 1), np.float32)
    params = jax.eval_shape(recipe.network.init, jax.random.key(0), image)["params"]
    assert set(rates["frozen"].trainable(params)) == {"head"}
    assert set(rates["frozen-up-to-stem"].trainable(params)) == {*front[1:], "head"}
    begins = {name: initial for name, (_, _, initial) in asked.items()}
    assert begins == {
        **dict.fromkeys(asked, "initial"),
        "classifier": None,
        "from-scratch": None,
    }
    assert asked["classifier"][0] == TINY.classifier_epochs
    assert asked["fine-tuned"][1] is asked["from-scratch"][1]  # so that it is compiled once


def test_a_detector_that_knows_every_window_finds_all_that_windows_reach(finished, scenes):
    directory, result, _ = finished
    boxes, classes = scenes.data.test_scenes.boxes, scenes.data.test_scenes.classes
    kinds = classes[classes >= 0]
    reached = np.asarray(iou(boxes[classes >= 0], np.float32(scenes.windows))).max(1) >= 0.5
    assert result["windows"]["reached"] == pytest.approx(reached.mean())
    expected = np.mean([reached[kinds == k].mean() for k in range(10) if (kinds == k).any()])
    points = {(each["name"], each["regression"]): each for each in result["points"]}
    for overlap in ("0.5", "0.75"):
        measured = points["fine-tuned", "applied"]["average_precision"][overlap]["values"]
        assert measured == pytest.approx([expected, 0], abs=0.03)
    plain = points["fine-tuned", "not applied"]["average_precision"]["0.75"]["values"]
    assert plain[0] < 0.9 * expected
    assert {how for name, how in points if name == "classes only"} == {"not trained"}
    for name in ("scenes", "precision_recall", "comparison"):
        assert (directory / f"figures/{name}.png").is_file()


def test_claims_are_differences_of_the_same_seeds(finished):
    directory, result, _ = finished
    stored = json.loads((directory / "result.json").read_text())
    assert stored["claims"] == result["claims"]
    rows = {(row["claim"], row["at"]): row for row in stored["claims"]}
    assert len(rows) == len(stored["claims"]) == 5 * 2
    same = rows["fine-tuning the convolutions beats keeping them", "IoU 0.5"]
    assert same["difference"] == "fine-tuned (boxes applied) - frozen (boxes applied)"
    assert same["values"] == [0, 0]
    assert same["published"] == pytest.approx(0.055)  # Girshick, table 5, at this IoU
    assert rows[same["claim"], "IoU 0.75"]["published"] is None
    boxes = rows["correcting boxes beats classes alone", "IoU 0.75"]
    points = {(p["name"], p["regression"]): p["average_precision"] for p in stored["points"]}
    expected = np.subtract(
        points["fine-tuned", "applied"]["0.75"]["values"],
        points["classes only", "not trained"]["0.75"]["values"],
    )
    np.testing.assert_allclose(boxes["values"], expected)


def test_cut_outs_have_digits_as_large_as_the_scenes(scenes):
    assert scenes.data.single.image_shape == (21, 21, 1)
    cuts = TINY.cut_outs()
    low, high = (each * cuts.scene_size for each in cuts.scale)
    assert (low, high) == pytest.approx((0.3 * 32, 0.55 * 32))
    assert scenes.data.train.statistics is scenes.data.single.statistics


def test_each_detector_begins_with_the_front_of_its_own_classifier(scenes):
    recipe = network.detector_recipe(TINY, scenes.data.train)
    classifier = make_recipe(TINY, scenes.data.single)
    image = jax.ShapeDtypeStruct((1, *scenes.data.single.image_shape), np.float32)
    shapes = jax.eval_shape(classifier.network.init, jax.random.key(0), image)
    generator = np.random.default_rng(0)
    trained = jax.tree.map(
        lambda x: generator.normal(size=(2, *x.shape)).astype(np.float32), shapes
    )
    states = TrainState(
        np.zeros(2, np.int32), trained["params"], {"batch_stats": trained["batch_stats"]}, (), None
    )
    with study.open(TINY, host()) as s:
        initial = training.initial_states(s, recipe, states, scenes.data.train)
    assert set(initial.params) == {"stem", "stage1", "stage2", "head"}
    for measured, source in (
        (initial.params, trained["params"]),
        (initial.model_state["batch_stats"], trained["batch_stats"]),
    ):
        front = {name: source[name] for name in ("stem", "stage1", "stage2")}
        jax.tree.map(np.testing.assert_array_equal, {name: measured[name] for name in front}, front)
    heads = np.asarray(initial.params["head"]["dense1"]["kernel"])
    assert heads.shape == (2, 9 * 4, 4) and (heads[0] != heads[1]).any()
    assert initial.step.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"box_weight": 0.0}, "one of the claims"),
        ({"overlaps": (0.5, 1.5)}, r"overlaps must be different numbers in \(0, 1\]"),
        ({"overlaps": (0.5, 0.5)}, "overlaps must be different"),
        ({"bins": 0}, "bins must be at least 1"),
        ({"heights": (0.5, 1.2)}, "heights must be fractions"),
    ],
)
def test_invalid_settings_are_refused_before_anything_is_composed(settings, message):
    with pytest.raises(ValueError, match=message):
        detect.run(dataclasses.replace(TINY, data_dir=None, dataset="none", **settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"up_to": "stage4"}, "stage4"),
        ({"up_to": "head"}, "must give maps"),
        ({"up_to": "stage3", "heights": (0.1,)}, "at least one cell of the features"),
    ],
)
def test_detectors_that_cannot_look_at_windows_are_refused(scenes, settings, message):
    with pytest.raises(ValueError, match=message):
        network.make_recipes(dataclasses.replace(TINY, **settings), scenes.data)


def test_the_stride_is_that_of_the_stages_though_maps_are_rounded_up():
    front = models.create("resnet8", 10, width=2).front("stage3")
    config = dataclasses.replace(TINY, scene_size=9)
    assert network.output_shape(front, 9, 1)[1] == 3
    assert network.stride(front, config, 1) == 4


@pytest.mark.slow
def test_a_small_run_trains_and_can_be_read_again(tmp_path):
    config = dataclasses.replace(TINY, epochs=2, classifier_epochs=2, run_dir=tmp_path / "run")
    result = detect.run(config)
    again = detect.run(detect.Config(resume=tmp_path / "run"))
    assert again["points"] == result["points"]
