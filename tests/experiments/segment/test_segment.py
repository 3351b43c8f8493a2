"""Segmentation: its trainings, what they begin from, and its claims."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab.keys import run_key
from cnnlab.studies.build import load_data
from cnnlab.studies.study import Study, Trained
from cnnlab.train import init_state
from experiments import segment
from experiments.segment import experiment, training
from experiments.segment.claims import compare
from experiments.segment.data import compose_scenes

TINY = segment.Config(
    dataset="digits",
    classes=("0", "1"),
    scenes=12,
    few=(4, 12),
    test_scenes=6,
    single_scenes=8,
    scene_size=16,
    batch_size=4,
    epochs=6,
    warmup_epochs=0.0,
    seeds=2,
    model_options=("width=2", "depth=1", "norm=batch"),
    quiet=True,
)


def filled(recipe, seeds, shape):
    """States of shapes as they would be, with values that tell networks apart."""
    like = jax.eval_shape(lambda: init_state(recipe, run_key(0), shape))

    def values(leaf):
        each = [np.full(leaf.shape, seed + 1, leaf.dtype) for seed in seeds]
        return np.stack(each)

    return jax.tree.map(values, like)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The experiment where trainings give back what they began from; and what they were."""
    asked = {}

    def train(study, name, recipe, data, *, config, options=None):
        states = None if options is None else options.initial
        if states is None:
            states = filled(recipe, [s + 100 for s in config.all_seeds], data.image_shape)
        asked[name] = config.epochs, recipe, data, states
        return Trained(states, {}, 1, 2.0)

    def fresh_states(study, recipe, scenes):
        return filled(recipe, study.config.all_seeds, scenes.image_shape)

    def predict_masks(recipe, states, dataset):
        generator = np.random.Generator(np.random.PCG64(len(asked)))
        shape = (len(states.step), *dataset.annotations.shape)
        return generator.integers(0, 3, shape).astype(np.uint8)

    directory = tmp_path_factory.mktemp("runs") / "segment"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "train", train)
        patch.setattr(Study, "fresh_states", fresh_states)
        for module in (experiment, training):
            patch.setattr(module, "predict_masks", predict_masks)
        patch.setattr(training, "evaluate", lambda *a, **k: {"accuracy": np.array([0.8, 0.9])})
        result = segment.run(dataclasses.replace(TINY, run_dir=directory))
    return directory, result, asked


def test_starts_are_compared_at_each_number_and_nothing_is_trained_twice(finished):
    _, result, asked = finished
    assert set(asked) == {
        *("cross-entropy-scratch-12", "dice-scratch-12", "both-scratch-12", "classifier"),
        *("both-scratch-4", "both-pretrained-4", "both-pretrained-12"),
        *("both-frozen-first-4", "both-frozen-first-4-decoder"),
        *("both-frozen-first-12", "both-frozen-first-12-decoder"),
    }
    assert asked["classifier"][0] == TINY.classifier_epochs
    for n in (4, 12):
        phases = asked[f"both-frozen-first-{n}-decoder"], asked[f"both-frozen-first-{n}"]
        assert [epochs for epochs, *_ in phases] == [2, 4]
    for name, (_, _, data, _) in asked.items():
        if name != "classifier":
            assert len(data) == 12  # as many updates whatever the scenes
            different = np.unique(data.images.reshape(12, -1), axis=0)
            assert len(different) == (4 if "-4" in name else 12)
    assert len(result["points"]) == 8


def test_networks_begin_alike_but_for_the_encoder(finished):
    _, _, asked = finished
    scratch, pretrained, frozen = (
        asked[f"both-{start}-4"][3].params for start in ("scratch", "pretrained", "frozen-first")
    )
    encoders = asked["classifier"][3].params
    for stage in scratch:
        wanted = encoders if stage in ("stem", "stage1") else scratch
        for initial in (pretrained, frozen):
            jax.tree.map(np.testing.assert_array_equal, initial[stage], wanted[stage])
    alike = asked["dice-scratch-12"][3].params
    jax.tree.map(np.testing.assert_array_equal, alike, scratch)
    _, recipe, _, states = asked["both-frozen-first-4-decoder"]
    assert {path for path, on in _flags(recipe.rates.frozen(states.params)) if on} == {
        "stem",
        "stage1",
    }
    assert asked["both-frozen-first-4"][1].rates is None


def _flags(tree):
    return {(stage, flag) for stage, part in tree.items() for flag in jax.tree.leaves(part)}


def test_all_are_normalised_by_the_classifiers_scenes(finished):
    _, _, asked = finished
    statistics = asked["classifier"][2].statistics
    assert all(data.statistics is statistics for _, _, data, _ in asked.values())


def test_the_result_has_uncertainty_claims_and_figures(finished):
    directory, result, _ = finished
    stored = json.loads((directory / "result.json").read_text())
    assert stored["class_names"] == ["background", "0", "1"]
    for point in stored["points"]:
        assert set(point["iou"]) == set(stored["class_names"])
        assert len(point["mean_iou"]["interval"]) == 2
        assert 0 <= point["mean_iou"]["mean"] <= 1
    assert len(result["claims"]) == 3 + 2 * 3
    for name in ("iou_by_class", "iou_by_scenes", "overlays_losses", "overlays_starts"):
        assert (directory / f"figures/{name}.png").is_file()


def test_claims_are_differences_of_the_same_seeds_with_the_published_one():
    def point(loss, start, scenes, values):
        iou = {"mean_iou": {"values": values}}
        return {"loss": loss, "start": start, "scenes": scenes, **iou}

    points = [
        point("cross-entropy", "scratch", 9, [0.50, 0.52, 0.51]),
        point("dice", "scratch", 9, [0.60, 0.63, 0.61]),
        point("both", "scratch", 3, [0.30, 0.30, 0.33]),
        point("both", "pretrained", 3, [0.20, 0.21, 0.22]),
    ]
    losses, starts = ("cross-entropy", "dice"), ("scratch", "pretrained")
    dice, start = (claim.to_row() for claim in compare(points, losses, starts))
    assert dice["claim"] == "dice overlaps more than cross-entropy"
    assert dice["mean"] == pytest.approx(0.31 / 3)
    assert dice["verdict"] == "reproduced"
    assert start["claim"] == "a classifier's encoder is a better start than random weights"
    assert start["at"] == "3 scenes"
    assert start["verdict"] == "contradicted"
    assert start["published"] == pytest.approx(0.093)  # of IoU, Iglovikov & Shvets


def test_without_padding_the_middle_is_scored_and_rare_classes_weigh_more(monkeypatch):
    options = (*TINY.model_options, "padding=VALID")
    config = dataclasses.replace(
        TINY, model_options=options, scene_size=20, losses=("weighted",), few=()
    )
    scenes = compose_scenes(config, load_data(config))
    recipes = training.make_recipes(config, scenes)  # whose shapes are checked
    middle = scenes.data.test.annotations[:, 8:12, 8:12]  # 20 - 4 halved, - 4, doubled, - 4, is 4

    def predict_masks(recipe, states, dataset):
        images = jnp.zeros((1, *dataset.image_shape))
        out = jax.eval_shape(lambda x: recipe.network.init_with_output(run_key(0), x)[0], images)
        assert out.shape == (1, *middle.shape[1:], 3)
        return np.stack([middle, np.zeros_like(middle)])

    monkeypatch.setattr(training, "predict_masks", predict_masks)
    scores = training.score_masks(recipes["both"], None, scenes.data.test)
    first, second = scores["pixel_accuracy"]["values"]
    assert (first, second) == (1, pytest.approx((middle == 0).mean()))
    assert scores["mean_iou"]["values"][0] == 1
    weights, pixels = np.array(scenes.class_weights()), np.array(scenes.pixels)
    np.testing.assert_allclose(weights * pixels, (weights * pixels)[0])
    assert weights.mean() == pytest.approx(1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"few": (2,)}, "from a batch, 4"),
        ({"few": (4, 13)}, "to all of them, 12"),
        ({"frozen": 0.01}, "leaves some on both sides"),
        ({"losses": ()}, "at least one"),
        ({"losses": ("dice", "dice")}, "each once"),
        ({"dice": 2.0}, "dice must be in"),
        ({"scene_size": 8}, "too small"),
        ({"backgrounds": "photograph"}, "Did you mean 'photographs'"),
        ({"model_options": ("depth=1", "padding=VALID"), "scene_size": 14}, "too small"),
        ({"dataset": "synthetic:60:8x8x3:3", "classes": None}, "grey images"),
    ],
)
def test_invalid_settings_are_refused_before_anything_is_written(settings, message, tmp_path):
    config = dataclasses.replace(TINY, run_dir=tmp_path / "run", **settings)
    with pytest.raises(ValueError, match=message):
        segment.run(config)
    assert not (tmp_path / "run").exists()
