"""Pruning in rounds, small networks and students: a tiny run, what begins where, the claims."""

import dataclasses
import json
import pathlib
import re
import shutil

import jax
import numpy as np
import pytest
from scipy import stats

from cnnlab import augment
from cnnlab.run_directory import ResumeError
from cnnlab.studies import build, claims, study
from cnnlab.studies.build import load_data, make_recipe
from cnnlab.studies.teachers import Teacher
from cnnlab.train import evaluate
from cnnlab.train.state import state_shapes
from experiments import cli, redundancy
from experiments.redundancy import training
from experiments.redundancy.claims import compare, compare_with_dense, smallest_kept
from experiments.redundancy.summary import METHODS, point_line, summary_lines

TINY = redundancy.Config(
    dataset="synthetic:60:4x4x1:3",
    model_options=("widths=(8,)",),
    small=("widths=(3,)",),
    rounds=2,
    epochs=1,
    batch_size=20,
    seeds=2,
    quiet=True,
)

TRAIN = study.Study.train
TRAINED = "rewound-round1"  # in quick tests; made states for all others


def moved(states, seed):
    """The states with noise on all weights that are not zero."""
    generator = np.random.default_rng(seed)

    def noisy(x):
        return np.where(x == 0, 0, x + 0.1 * generator.standard_normal(x.shape)).astype(x.dtype)

    return states._replace(params=jax.tree.map(noisy, jax.device_get(states.params)))


@pytest.fixture(scope="module")
def hardly_trained():
    """Most trainings only add noise to what they begin with."""

    def train_or_make(s, name, recipe, train, validation=None, *, config, options):
        if name == TRAINED:
            return TRAIN(s, name, recipe, train, validation, config=config, options=options)
        states = options.initial
        if states is None:
            shapes = state_shapes(recipe, train.image_shape)
            states = jax.tree.map(lambda x: np.ones((config.seeds, *x.shape), x.dtype), shapes)
        return study.Trained(moved(states, len(name)), {}, 2, 6.0)

    def make_once(config, data):
        key = repr(dataclasses.replace(config, run_dir=None, resume=None))
        return recipes.setdefault(key, make_recipe(config, data))

    def evaluate_alike(recipe, states, part):
        return evaluate(networks.setdefault(recipe.network, recipe), states, part)

    recipes, networks = {}, {}  # programs belong to a recipe: so few are compiled
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study.Study, "train", train_or_make)
        patch.setattr(build, "make_recipe", make_once)
        patch.setattr(training, "evaluate", evaluate_alike)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory, hardly_trained):
    directory = tmp_path_factory.mktemp("runs") / "run"
    return directory, redundancy.run(dataclasses.replace(TINY, run_dir=directory))


def test_a_run_has_every_method_and_says_what_each_network_cost(finished):
    has_every_method(*finished)


def has_every_method(directory, result):
    # 16 x 8 + 8 x 3 weights and 11 biases; a round takes half of the former, a quarter of the rest.
    wanted = {
        ("dense", ""): (163, 1),
        ("longer", ""): (163, 3),
        ("rewound", "round1"): (64 + 18 + 11, 2),
        ("reinitialised", "round1"): (64 + 18 + 11, 2),
        ("continued", "round1"): (64 + 18 + 11, 2),
        ("rewound", "round2"): (32 + 14 + 11, 3),  # round(24 * 0.4375) = 10 zeros
        ("reinitialised", "round2"): (32 + 14 + 11, 3),
        ("continued", "round2"): (32 + 14 + 11, 3),
        ("small", "widths=(3,)"): (16 * 3 + 3 + 9 + 3, 1),
        ("distilled", "widths=(3,)"): (16 * 3 + 3 + 9 + 3, 2),
    }
    networks = {(p["method"], p["name"]): (p["parameters"], p["epochs"]) for p in result["points"]}
    assert networks == wanted
    assert {method for method, _ in networks} == set(METHODS)
    for point in result["points"]:
        assert len(point["test_accuracy"]["values"]) == 2
    assert (directory / "figures/redundancy.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((directory / "result.json").read_text())["claims"] == result["claims"]


def test_a_resume_reads_what_is_trained_and_prints_the_summary(finished, capsys):
    directory, result = finished
    metrics = {path: path.read_bytes() for path in directory.glob("*/metrics.jsonl")}
    assert [path.parent.name for path in metrics] == [TRAINED]
    again = redundancy.run(redundancy.Config(resume=directory, quiet=True))
    assert again["points"] == result["points"] and again["claims"] == result["claims"]
    assert all(path.read_bytes() == before for path, before in metrics.items())
    wanted = ["", *summary_lines(result), "", *claims.lines(result["claims"])]
    assert capsys.readouterr().out.splitlines() == [*wanted, f"see {directory}"]
    with pytest.raises(ResumeError, match="rounds was 2, and is now 3"):
        redundancy.run(redundancy.Config(resume=directory, rounds=3))


@pytest.mark.slow
def test_what_is_missing_is_trained_to_the_same_and_nothing_else(tmp_path, monkeypatch):
    # In spite of hardly_trained, where that came before.
    monkeypatch.setattr(study.Study, "train", TRAIN)
    monkeypatch.setattr(build, "make_recipe", make_recipe)
    monkeypatch.setattr(training, "evaluate", evaluate)
    directory = tmp_path / "run"
    result = redundancy.run(dataclasses.replace(TINY, run_dir=directory))
    has_every_method(directory, result)
    (directory / "result.json").unlink()
    shutil.rmtree(directory / "distilled-widths-3")
    again = redundancy.run(redundancy.Config(resume=directory, quiet=True))
    for before, after in zip(result["points"], again["points"], strict=True):
        assert after["test_accuracy"] == before["test_accuracy"]
        if before["method"] != "distilled":
            assert after["seconds"] == before["seconds"]


@pytest.fixture
def trainings(monkeypatch):
    """(method, name) -> the arguments of ``train_networks``, which only adds noise to weights."""
    calls = {}

    def train(s, splits, method, config, recipe, name="", **options):
        states = options.get("initial")
        if states is not None:
            states = moved(states, len(calls))
        calls[method, name] = {"recipe": recipe, **options, "states": states}
        return training.Networks(states, {"method": method, "name": name})

    monkeypatch.setattr(training, "train_networks", train)
    return calls


def kernel(states, stage="stage1"):
    return np.asarray(states.params[stage]["dense"]["kernel"])


def test_each_kind_of_pruned_network_begins_where_it_should(trainings):
    s, splits = study.Study(TINY, cli.host()), load_data(TINY)
    recipe = make_recipe(TINY, splits.train)
    initial = s.fresh_states(recipe, splits.train)
    trained = jax.tree.map(lambda x: x * 1.5, initial)
    list(training.prune_in_rounds(s, splits, recipe, initial, trained))
    before, further = trained, trained
    for name in ("round1", "round2"):
        ticket, control, continued = (
            trainings[method, name]["initial"]
            for method in ("rewound", "reinitialised", "continued")
        )
        for stage, left in (("stage1", {"round1": 64, "round2": 32}), ("head", None)):
            start, weights = kernel(ticket, stage), kernel(before, stage)
            mask = start != 0
            np.testing.assert_array_equal(start[mask], kernel(initial, stage)[mask])
            for kept, all_ in zip(mask, np.abs(weights), strict=True):  # each seed's own
                assert all_[kept].min() >= all_[~kept].max()
                assert left is None or kept.sum() == left[name]
            np.testing.assert_array_equal(kernel(control, stage) != 0, mask)
            assert (kernel(control, stage)[mask] != start[mask]).all()
            on = kernel(continued, stage)
            np.testing.assert_array_equal(on[on != 0], kernel(further, stage)[on != 0])
        assert (np.asarray(ticket.step) == 0).all()
        before, further = (
            trainings["rewound", name]["states"],
            trainings["continued", name]["states"],
        )
    # Fresh weights of one round are not those of the other, nor any seed's first ones.
    fresh = [kernel(trainings["reinitialised", name]["initial"]) for name in ("round1", "round2")]
    both = (fresh[0] != 0) & (fresh[1] != 0)
    assert both.any() and (fresh[0][both] != fresh[1][both]).all()


def distilled(trainings, config, recipe, splits):
    s = study.Study(config, cli.host())
    teacher = Teacher(recipe, s.fresh_states(recipe, splits.train, (0,)), "", None)
    training.distill(s, splits, teacher, config, recipe, "x")
    return trainings["distilled", "x"]


@pytest.mark.parametrize("crop", [0, 1])
def test_the_teacher_sees_the_same_images_as_the_student(trainings, crop):
    config, splits = dataclasses.replace(TINY, crop=crop), load_data(TINY)
    call = distilled(trainings, config, make_recipe(config, splits.train), splits)
    assert (call["recipe"].teacher is not None) == (crop > 0)
    assert (call["train"].targets is not None) == (crop == 0)
    assert call["epochs_before"] == config.epochs


def test_the_recipe_says_whether_images_are_augmented_whatever_the_options_are(trainings):
    splits = load_data(TINY)
    recipe = dataclasses.replace(make_recipe(TINY, splits.train), augment=augment.flip())
    call = distilled(trainings, TINY, recipe, splits)
    assert call["recipe"].teacher is not None and call["train"].targets is None


def test_small_networks_are_named_by_what_they_change():
    config = redundancy.Config(
        model="resnet8",
        model_options=("width=16", "norm=group"),
        small=("width=4", "mlp norm=none"),
    )
    narrow, other = config.small_networks().values()
    assert narrow.model == "resnet8"
    assert narrow.model_options == ("width=16", "norm=group", "width=4")
    assert (other.model, other.model_options) == ("mlp", ("norm=none",))


# The claims ----------------------------------------------------------------------------------


def point(method, name, parameters, values, sparsity=0.0):
    return {
        "method": method,
        "name": name,
        "parameters": parameters,
        "sparsity": sparsity,
        "epochs": 4,
        "test_accuracy": {"mean": np.mean(values), "standard_error": 0.1, "values": list(values)},
    }


DENSE = np.array([0.970, 0.972, 0.968, 0.971])
NOISE = np.array([0.001, -0.001, 0.0005, 0.0])
POINTS = compare_with_dense(
    [
        point("dense", "", 1000, DENSE),
        point("rewound", "round1", 500, DENSE + NOISE, 0.5),
        point("rewound", "round2", 250, DENSE - 0.006 + 5 * NOISE, 0.75),
        point("rewound", "round3", 125, DENSE - 0.05 + NOISE, 0.875),
        point("reinitialised", "round1", 500, DENSE - NOISE, 0.5),
        point("reinitialised", "round2", 250, DENSE - 0.03, 0.75),
        point("reinitialised", "round3", 125, DENSE - 0.08, 0.875),
        point("small", "width=2", 300, DENSE - 0.02),
        point("distilled", "width=2", 300, DENSE - 0.03 + NOISE),
    ]
)


def test_claims_are_paired_differences_at_each_size_and_over_all():
    rows = [claim.to_row() for claim in compare(POINTS)]
    assert [row["at"] for row in rows] == [
        "12.5 % of the weights",
        "25 % of the weights",
        "50 % of the weights",
        "mean of all",
        "width=2",
    ]
    high, _, low, mean, student = rows
    assert high["mean"] == pytest.approx(0.03 + NOISE.mean())
    interval = stats.ttest_1samp(0.03 + NOISE, 0).confidence_interval(0.95)
    np.testing.assert_allclose(high["interval"], interval)
    assert mean["mean"] == pytest.approx(0.018 + NOISE.mean() * 8 / 3)
    assert [row["verdict"] for row in (high, mean)] == ["reproduced"] * 2
    assert low["verdict"] == "undecided"
    assert student["verdict"] == "contradicted"
    assert (student["ours"], student["theirs"]) == ("distilled", "small")
    assert student["difference"] == "test accuracy: distilled - small"


def test_accuracy_is_kept_down_to_the_last_network_before_the_first_that_loses_it():
    kept = smallest_kept(POINTS, 0.005)
    assert kept["rewound"]["shown"] == {"name": "round1", "sparsity": 0.5, "parameters": 500}
    assert kept["rewound"]["not_refuted"]["name"] == "round2"  # its interval holds -0.5 points
    assert kept["small"] == {"shown": None, "not_refuted": None}
    assert set(kept) == {"rewound", "reinitialised", "small", "distilled"}
    one_seed = [{**each, "difference": {"interval": None}} for each in POINTS]
    assert smallest_kept(one_seed, 0.005)["rewound"]["shown"] is None


def test_lines_name_the_size_and_the_cost():
    line = point_line(POINTS[2])
    assert "25 % of the weights: 250 parameters" in line and "4 epochs in all" in line
    rows = [claim.to_row() for claim in compare(POINTS)]
    lines = claims.lines(rows)
    assert "+3.01 points" in lines[0] and lines[0].endswith("reproduced")
    assert lines[-1].endswith("; students of one teacher; its own variance is not in the intervals")
    result = {
        **{"model": "mlp", "dataset": "digits", "seeds": [0] * 4, "seconds": 8.0},
        "config": {"margin": 0.005, "model_options": ["widths=(8,)"], "epochs": 4},
        **{"points": POINTS, "kept": smallest_kept(POINTS, 0.005)},
    }
    text = "\n".join(summary_lines(result))
    assert "shown for 50 % of the weights (500 parameters)" in text
    assert re.search(r"first weights +12.5 % of the weights +125 +4 +92.04 ± .* -4.9", text)


def test_the_kept_result_is_summarised_as_the_page_shows_it():
    kept = pathlib.Path(__file__).parents[3] / "results/redundancy-digits.json"
    lines = summary_lines(json.loads(kept.read_text()))
    assert len([line for line in lines if " ± " in line]) == 23
    wanted = "small, distilled +widths=\\(10,10\\) +870 +40 +92.20 ± 0.38 % .* -5.01 points .*-6.28"
    assert any(re.match(wanted, line) for line in lines)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 1.0}, r"rate must be in \(0, 1\)"),
        ({"sparsities": (0.5, 0.4)}, "and rise"),
        ({"head_factor": 2.0}, r"factor must be in \[0, 1\]"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"margin": -0.1}, r"margin must be in \[0, 1\)"),
        ({"small": ("resnet8 mlp",)}, "must read"),
        ({"small": ("width=8",)}, "width"),
    ],
)
def test_invalid_settings_are_refused_before_anything_is_written(tmp_path, change, message):
    config = dataclasses.replace(TINY, runs=tmp_path / "runs", **change)
    with pytest.raises((ValueError, TypeError), match=message):
        redundancy.run(config)
    assert not (tmp_path / "runs").exists()
