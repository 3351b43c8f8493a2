"""The grid of transfer: the data of its cells, the choice of rates, and its summary."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from cnnlab.studies.build import load_data, make_recipe
from cnnlab.studies.claims import lines
from cnnlab.studies.fine_tuning import Tuned
from cnnlab.studies.recipe_settings import AMOUNTS, SIMILARITIES
from cnnlab.studies.study import Study, Trained
from cnnlab.train.state import state_shapes
from experiments import transfer_grid
from experiments.transfer_grid import training
from experiments.transfer_grid.claims import compare, make_cell
from experiments.transfer_grid.data import Target, draw_examples, load_targets, shuffle_pixels
from experiments.transfer_grid.training import candidates, with_head_after

TINY = transfer_grid.Config(
    dataset="synthetic:200:4x4x1:6",
    few=2,
    many=10,
    learning_rates=(0.1, 0.01),
    model="mlp",
    model_options=("widths=(5,4)",),
    epochs=1,
    source_epochs=1,
    batch_size=6,
    seeds=2,
    quiet=True,
)


# Data ----------------------------------------------------------------------------------------


def test_the_targets_have_the_other_classes_and_a_lot_of_data_is_the_same_for_all_seeds():
    source, targets = load_targets(TINY)
    assert source.train.class_names == ("class0", "class1", "class2")
    for target in targets.values():
        assert target.splits.train.class_names == ("class3", "class4", "class5")
        assert np.bincount(target.splits.train.labels).tolist() == [10, 10, 10]
        assert target.draws.shape == (2, 6)
        assert target.splits.validation is not None
    chosen = dataclasses.replace(
        TINY, source=("class5", "0"), other=TINY.dataset, other_classes=("1", "class2"), many=None
    )
    _, named = load_targets(chosen)
    names = [target.splits.train.class_names for target in named.values()]
    assert names == [("class1", "class2", "class3", "class4"), ("class1", "class2")]


def test_draws_are_as_many_of_each_class_other_ones_for_each_seed_and_grow():
    train = load_data(TINY).train
    small, large = (draw_examples(train, count, (0, 1)) for count in (2, 5))
    for few, more in zip(small, large, strict=True):
        assert np.bincount(train.labels[few]).tolist() == [2] * 6
        assert set(few) < set(more)
    assert set(small[0]) != set(small[1])
    with pytest.raises(ValueError, match="images a class must be in 1 to 2[0-9], .*got 99"):
        draw_examples(train, 99, (0,))


def test_little_data_are_shown_as_often_as_a_lot_and_equally_often():
    _, targets = load_targets(TINY)
    target = targets["similar"]
    rows = target.repeated_draws
    assert rows.shape == (2, len(target.splits.train))
    for row, drawn in zip(rows, target.draws, strict=True):
        images, counts = np.unique(row, return_counts=True)
        assert set(images) == set(drawn) and set(counts) == {5}
    uneven = Target("", target.splits, target.draws[:, :4]).repeated_draws
    for row, drawn in zip(uneven, target.draws[:, :4], strict=True):
        images, counts = np.unique(row, return_counts=True)
        assert set(images) == set(drawn) and sorted(counts) == [7, 7, 8, 8]


def test_shuffled_pixels_are_the_same_pixels_in_one_order_in_all_parts():
    splits = load_data(TINY)
    actual = shuffle_pixels(splits, 3)
    before = np.concatenate([p.images.reshape(-1, 16) for p in (splits.train, splits.test)])
    after = np.concatenate([p.images.reshape(-1, 16) for p in (actual.train, actual.test)])
    # Each column of the one is a column of the other, elsewhere.
    columns = [int(np.flatnonzero((before == c[:, None]).all(0))[0]) for c in after.T]
    assert sorted(columns) == list(range(16)) and columns != list(range(16))
    np.testing.assert_array_equal(actual.train.labels, splits.train.labels)


# The experiment ------------------------------------------------------------------------------

# What the made networks do on the validation and the test part, by recipe and rate.
VALIDATION = {("linear", 0.1): 0.8, ("linear", 0.01): 0.7, ("early", 0.1): 0.3, ("top", 0.1): 0.9}
TEST = {("linear", 0.01): 0.99, ("early", 0.1): 0.4, ("top", 0.1): 0.6, ("all", 0.1): 0.5}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The experiment with made networks; what was asked of each training, and what was tested."""
    asked, tested = {}, []

    def train(study, name, recipe, train, *, config, options):
        assert (name, options.seeds) == ("source", (0,))
        shapes = state_shapes(recipe, train.image_shape)
        return Trained(jax.tree.map(lambda x: np.ones((1, *x.shape), x.dtype), shapes), {}, 2, 3.0)

    def tune(name, study, part, variables, splits, *, config, recipe, fronts, options):
        early = len(recipe.network.names) < 4
        key = ("early" if early else name, config.learning_rate)
        asked[part] = (key, config, variables, splits, fronts, options)
        validation = np.full(2, VALIDATION.get(key, 0.1))
        return Tuned(name, recipe, key, 1.0, validation, validation, None, 0.0, "")

    def evaluate(recipe, states, dataset):
        if not isinstance(states, tuple) or isinstance(states[0], str):
            tested.append(states)
            return {"accuracy": np.array([0.0, 0.02]) + TEST.get(states, 0.2)}
        return {"accuracy": np.array([0.9])}  # the source's

    directory = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "train", train)
        patch.setattr(training, "tune", tune)
        patch.setattr(training, "evaluate", evaluate)
        result = transfer_grid.run(dataclasses.replace(TINY, run_dir=directory))
    return directory, result, asked, tested


def test_every_recipe_is_tried_at_every_rate_and_only_the_chosen_is_tested(finished):
    _, result, asked, tested = finished
    assert len(asked) == 4 * 5 * 2 and len(tested) == 4 * 5
    for cell in result["cells"]:
        for name, actual in cell["recipes"].items():
            assert actual["rate"] == 0.1, "the first of the best by validation, not by test"
            assert set(actual["tried"]) == (
                {"stage1-0.1", "stage1-0.01"} if name == "early" else {"0.1", "0.01"}
            )


def test_the_cells_differ_in_data_only_and_are_blind_to_the_test_part(finished):
    _, _, asked, _ = finished
    for part, (key, config, variables, splits, _, options) in asked.items():
        assert splits.test.images is splits.validation.images
        assert len(splits.train) == 30 and config.epochs == 1
        little = part.startswith("little-data")
        assert (options.subsets is not None) == little
        kept = {"stage1"} if key[0] == "early" else {"stage1", "stage2"}
        assert set(variables["params"]) == kept | {"head"}
    fronts = {id(fronts) for *_, fronts, _ in asked.values()}
    assert len(fronts) == 2, "one cache for each target"
    assert {"little-data-similar-early-stage1-0.1", "a-lot-of-data-different-scratch-0.01"} <= set(
        asked
    )


def test_a_run_leaves_the_figure_and_what_the_lecture_says_against_what_won(finished):
    directory, result, *_ = finished
    assert (directory / "figures/transfer_grid.png").read_bytes().startswith(b"\x89PNG")
    places = [(cell["amount"], cell["similarity"]) for cell in result["cells"]]
    assert places == [(amount, s) for s in SIMILARITIES for amount in AMOUNTS]
    assert [cell["recommended"] for cell in result["cells"]] == ["linear", "top", "early", "all"]
    assert {cell["won"] for cell in result["cells"]} == {"top"}
    stored = json.loads((directory / "result.json").read_text())
    assert stored["claims"] == result["claims"] and len(stored["claims"]) == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"recipes": ("linear", "all")}, "must be scratch, which the others"),
        ({"recipes": ("scratch",)}, "and others"),
        ({"recipes": ("scratch", "linea")}, "linear"),
        ({"learning_rates": ()}, "rates must be different numbers"),
        ({"learning_rates": (0.1, 0.1)}, "rates must be different numbers"),
        ({"few": 10}, "little data must be less than a lot, got 10 and 10"),
        ({"few": 0}, "images a class must be in 1"),
        ({"many": 99}, "99"),
        ({"source": ("0", "1", "2", "3", "4")}, "leave 2 to the similar target"),
        ({"source": ("0", "0")}, "each named once"),
        ({"other": "synthetic:60:6x6x1:3"}, r"has \(6, 6, 1\), .* \(4, 4, 1\)"),
        ({"early": ("stage2",)}, "stage1"),
        ({"batch_size": 31}, "a batch size of at most 30"),
        ({"validation": None}, "a validation part to choose rates by"),
        ({"model_options": ("widths=(5,)",)}, "no earlier stage"),
    ],
)
def test_invalid_settings_are_refused_before_anything_is_written(settings, message, tmp_path):
    config = dataclasses.replace(TINY, run_dir=tmp_path / "run", **settings)
    with pytest.raises(ValueError, match=message):
        transfer_grid.run(config)
    assert not (tmp_path / "run").exists()


def test_a_classifier_on_an_earlier_stage_has_the_front_and_the_head():
    recipe = make_recipe(TINY, load_data(TINY).train)
    network = with_head_after(recipe.network, "stage1")
    assert network.names == ("stem", "stage1", "head")
    shapes = state_shapes(dataclasses.replace(recipe, network=network), (4, 4, 1)).params
    assert shapes["head"]["dense"]["kernel"].shape == (5, 6)
    actual = candidates(TINY, "early", ["stem", "stage1", "stage2", "stage3", "head"])
    assert [(each.stage, each.rate) for each in actual] == [("stage1", 0.1), ("stage1", 0.01)]


# Summary ------------------------------------------------------------------------------------


def recipe(test, validation):
    return {
        "test_accuracy": {"mean": np.mean(test), "values": test},
        "validation_accuracy": {"mean": validation},
        "seconds": 1.0,
    }


def test_the_rival_of_the_lecture_s_recipe_is_the_best_by_validation_not_by_test():
    recipes = {
        "linear": recipe([0.8, 0.9], 0.85),
        "top": recipe([0.7, 0.79], 0.84),
        "all": recipe([0.9, 0.95], 0.7),  # the best on the test part
        "scratch": recipe([0.5, 0.61], 0.9),
    }
    cell = make_cell("little data", "similar", "digits", 10, recipes)
    assert cell["won"] == "all" and cell["recommended"] == "linear"
    assert cell["recipes"]["top"]["over_scratch"]["mean"] == pytest.approx(0.19)
    scratch, others = (claim.to_row() for claim in compare(cell))
    assert (scratch["theirs"], others["theirs"]) == ("scratch", "top")
    np.testing.assert_allclose(others["values"], [0.1, 0.11])
    assert others["verdict"] == "reproduced"
    (line,) = lines([others])
    assert ", little data, similar (test accuracy: linear - top): +10.50 points" in line
    assert line.endswith("reproduced; best mean: all")
    del recipes["linear"]
    left = make_cell("little data", "similar", "digits", 10, recipes)
    assert compare(left) == []


@pytest.mark.slow
def test_a_real_run_is_resumed_to_the_same(tmp_path):
    config = dataclasses.replace(
        TINY, recipes=("linear", "early", "scratch"), learning_rates=(0.01,)
    )
    result = transfer_grid.run(dataclasses.replace(config, run_dir=tmp_path / "run"))
    again = transfer_grid.run(transfer_grid.Config(resume=tmp_path / "run", quiet=True))
    without = [{**cell, "seconds": 0} for cell in result["cells"]]
    assert [{**cell, "seconds": 0} for cell in again["cells"]] == without
    assert again["claims"] == result["claims"]
