"""Ensembles of independent networks: what members differ by, and what is refused."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from cnnlab.train.checkpoint import CheckpointError
from experiments import ensemble, train
from experiments.ensemble.members import member_options
from experiments.ensemble.summary import summary_lines

TINY = ensemble.Config(
    dataset="synthetic:90:6x6x1:3",
    model="mlp",
    model_options=("widths=(6,)",),
    epochs=2,
    members=2,
    batch_size=15,
    learning_rate=0.05,
    seeds=2,
    quiet=True,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    return directory, ensemble.run(dataclasses.replace(TINY, run_dir=directory))


def test_the_single_network_has_the_budget_of_all_members(trained):
    directory, result = trained
    methods = result["methods"]
    costs = {name: each["cost"] for name, each in methods.items()}
    assert costs["the single network"]["epochs"] == 4
    assert costs["mean of 2 probabilities"]["epochs"] == 4
    assert costs["a member alone, the mean of 2"]["epochs"] == 2
    one = costs["the single network"]["multiply_adds"]
    assert costs["mean of 2 probabilities"]["multiply_adds"] == 2 * one
    assert costs["a member alone, the mean of 2"]["multiply_adds"] == one
    assert methods["mean of 2 logits"]["less_error"]["than"] == "the single network"
    # The mean over members of the accuracies in each repetition.
    each = np.array([actual["values"] for actual in result["alone"].values()])
    alone = methods["a member alone, the mean of 2"]["scores"]["accuracy"]["values"]
    np.testing.assert_allclose(alone, each.mean(axis=0), atol=1e-12)
    assert len(result["diversity"]) == 2  # repetitions
    for weights in result["weights"].values():
        np.testing.assert_allclose(np.sum(list(weights.values()), axis=0), 1, atol=1e-9)
    figures = [path.stem for path in (directory / "figures").glob("*.png")]
    assert {"comparison", "by_count"} < set(figures) and len(figures) == 4  # two diagrams


def test_members_of_other_architectures_cost_each_their_own(tmp_path):
    config = dataclasses.replace(
        TINY,
        differ="architecture",
        models=("linear", "mlp", "linear"),
        epochs=1,
        single=False,
        seeds=1,
        run_dir=tmp_path / "run",
        warmup_epochs=0.0,
    )
    result = ensemble.run(config)
    assert list(result["members"]) == ["linear", "mlp", "linear 2"]
    cost = result["methods"]["mean of 3 probabilities"]["cost"]["multiply_adds"]
    assert cost == 36 * 3 + 36 * 6 + 6 * 3 + 36 * 3


def test_the_claims_are_against_a_member_and_against_one_network_of_the_same_budget(trained):
    directory, result = trained
    against_member, against_single = json.loads((directory / "result.json").read_text())["claims"]
    accuracy = {name: each["scores"]["accuracy"] for name, each in result["methods"].items()}
    ours = np.array(accuracy["mean of 2 probabilities"]["values"])
    for row, name in (
        (against_member, "a member alone, the mean of 2"),
        (against_single, "the single network"),
    ):
        np.testing.assert_allclose(row["values"], ours - accuracy[name]["values"], atol=1e-12)
        assert row["difference"] == f"error of {name} - error of mean of 2 probabilities"
    assert (against_member["published"], against_single["published"]) == (0.006, None)


def test_the_summary_shows_all_methods_members_and_their_diversity(trained):
    _, result = trained
    text = "\n".join(summary_lines(result))
    for name in (*result["methods"], *result["members"], "disagreement"):
        assert name in text


def test_members_differ_by_what_the_options_of_their_training_say():
    """Two members of two repetitions: [M * R], the members' own side by side."""

    def options_of(**settings):
        config = dataclasses.replace(TINY, seed=10, **settings)
        return member_options(config, 50)

    def seeds(**settings):
        options = options_of(**settings)[1]
        assert options.subsets is None and options.hyperparameters is None
        return options.seeds, options.init_seeds

    assert seeds() == ((10, 11, 12, 13), None)
    assert seeds(differ="init") == ((10, 11, 10, 11), (10, 11, 12, 13))
    assert seeds(differ="order") == ((10, 11, 12, 13), (10, 11, 10, 11))
    assert options_of(differ="bootstrap")[1].subsets.shape == (4, 50)
    _, options, seen = options_of(differ="subset", subset=0.3)
    assert options.subsets.shape == (4, 15) and seen == 0.3
    names, options, _ = options_of(differ="hyperparameters", weight_decays=(0.0, 0.1, 0.2))
    assert names == ("weight_decay 0", "weight_decay 0.1", "weight_decay 0.2")
    assert options.hyperparameters == {"weight_decay": [0.0, 0.0, 0.1, 0.1, 0.2, 0.2]}
    assert options.seeds == (10, 11, 12, 13, 14, 15)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"members": 0}, "at least one member"),
        ({"differ": "hyperparameters"}, "need --learning-rate-factors"),
        (
            {
                "differ": "hyperparameters",
                "weight_decays": (0.1, 0.2),
                "learning_rate_factors": (1.0,),
            },
            "one number a member",
        ),
        ({"differ": "architecture"}, "need --models"),
        ({"weight_decays": (0.1,)}, "--weight-decays: only with --differ hyperparameters"),
        ({"models": ("mlp",)}, "--models: only with --differ architecture"),
        ({"subset": 1.5}, r"must be in \(0, 1\)"),
        ({"differ": "architecture", "models": ("mlp", "lenet5")}, "too small"),
        ({"of": ("run",)}, "--dataset, .*nothing is trained with --of"),
    ],
)
def test_invalid_settings_are_refused_before_anything_is_written(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        ensemble.run(dataclasses.replace(TINY, run_dir=tmp_path / "run", **settings))
    assert not (tmp_path / "run").exists()


# Of finished runs


@pytest.fixture(scope="module")
def linear_run(tmp_path_factory, tiny_config):
    directory = tmp_path_factory.mktemp("runs") / "linear"
    config = dataclasses.replace(
        tiny_config, model="linear", model_options=(), seeds=1, run_dir=directory
    )
    train.run(config)
    return directory


@pytest.fixture
def of_runs(tmp_path):
    def run(*directories, **settings):
        runs = tuple(map(str, directories))
        return ensemble.run(
            ensemble.Config(of=runs, run_dir=tmp_path / "of", quiet=True, **settings)
        )

    return run


def test_networks_of_finished_runs_are_members_each_with_its_own_figures(
    finished, linear_run, of_runs
):
    tiny_run, trained = finished
    result = of_runs(tiny_run, linear_run)
    assert list(result["members"]) == ["run, seed 0", "run, seed 1", "linear"]
    assert (result["dataset"], result["model"]) == ("synthetic:90:6x6x1:3", "mlp")
    for seed in (0, 1):
        alone = result["alone"][f"run, seed {seed}"]["values"]
        assert alone == pytest.approx([trained["test"]["accuracy"]["values"][seed]])
    assert result["methods"]["mean of 3 probabilities"]["cost"]["epochs"] == 6


def test_a_member_that_is_gone_is_named_or_left_out_on_request(
    finished, linear_run, of_runs, tmp_path, capsys
):
    broken, gone = tmp_path / "broken", tmp_path / "gone"
    shutil.copytree(linear_run, broken)
    shutil.rmtree(broken / "checkpoints")
    for absent in (broken, gone):
        with pytest.raises(CheckpointError, match=rf"member .*{absent.name} cannot .*--missing"):
            of_runs(finished[0], absent)
        assert not (tmp_path / "of").exists()
    result = of_runs(finished[0], broken, gone, missing="skip")
    assert len(result["members"]) == 2
    printed = capsys.readouterr().out
    assert f"going on without {broken}" in printed and f"going on without {gone}" in printed
