"""Ensembles of independent networks: what members differ by, and what is refused."""

import dataclasses
import shutil

import numpy as np
import pytest

from cnnlab.train.checkpoint import CheckpointError
from experiments import ensemble, train

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
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("runs") / "run"
    return directory, ensemble.run(dataclasses.replace(TINY, run_dir=directory))


def test_the_single_network_has_the_budget_of_all_members(finished):
    directory, result = finished
    methods = result["methods"]
    costs = {name: each["cost"] for name, each in methods.items()}
    assert costs["the single network"]["epochs"] == 4
    assert costs["mean of 2 probabilities"]["epochs"] == 4
    assert costs["member 0 alone"]["epochs"] == 2
    single = costs["the single network"]["multiply_adds"]
    assert costs["mean of 2 probabilities"]["multiply_adds"] == 2 * single
    assert methods["mean of 2 logits"]["less_error"]["than"] == "the single network"
    assert len(result["diversity"]) == 2  # repetitions
    for weights in result["weights"].values():
        np.testing.assert_allclose(np.sum(list(weights.values()), axis=0), 1, atol=1e-9)
    assert (directory / "figures/comparison.png").is_file()


@pytest.mark.parametrize(
    ("settings", "members"),
    [
        ({"differ": "bootstrap"}, ["member 0", "member 1"]),
        ({"differ": "init"}, ["member 0", "member 1"]),
        (
            {"differ": "hyperparameters", "weight_decays": (0.0, 0.1)},
            ["weight_decay 0", "weight_decay 0.1"],
        ),
        ({"differ": "architecture", "models": ("linear", "mlp")}, ["linear", "mlp"]),
    ],
)
def test_members_differ_in_what_was_asked_for(tmp_path, settings, members):
    config = dataclasses.replace(
        TINY, **settings, epochs=1, single=False, run_dir=tmp_path / "run", warmup_epochs=0.0
    )
    result = ensemble.run(config)
    assert list(result["members"]) == members
    assert result["diversity"][0]["disagreement"] > 0


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
        ({"weight_decays": (0.1,)}, "--weight-decays is for --differ hyperparameters"),
        ({"models": ("mlp",)}, "--models is for --differ architecture"),
    ],
)
def test_what_cannot_be_an_ensemble_is_refused_before_anything_is_written(
    tmp_path, settings, message
):
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


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory, tiny_config):
    directory = tmp_path_factory.mktemp("runs") / "tiny"
    train.run(dataclasses.replace(tiny_config, run_dir=directory))
    return directory


def test_networks_of_finished_runs_are_members_each_with_its_own_figures(
    tiny_run, linear_run, of_runs
):
    result = of_runs(tiny_run, linear_run)
    assert list(result["members"]) == ["tiny, seed 0", "tiny, seed 1", "linear"]
    import json

    first = json.loads((tiny_run / "result.json").read_text())["test"]["accuracy"]["values"][0]
    alone = result["methods"]["tiny, seed 0 alone"]["scores"]["accuracy"]["mean"]
    assert alone == pytest.approx(first)


def test_a_member_without_its_checkpoint_is_named_or_left_out_on_request(
    tiny_run, linear_run, of_runs, tmp_path, capsys
):
    broken = tmp_path / "broken"
    shutil.copytree(linear_run, broken)
    shutil.rmtree(broken / "checkpoints")
    with pytest.raises(CheckpointError, match=r"the member .*broken cannot .*--missing skip"):
        of_runs(tiny_run, broken)
    shutil.rmtree(tmp_path / "of")
    result = of_runs(tiny_run, broken, missing="skip")
    assert len(result["members"]) == 2
    assert f"going on without {broken}" in capsys.readouterr().out


def test_members_of_other_classes_or_another_split_are_refused(
    tiny_run, of_runs, tmp_path, tiny_config
):
    for change, message in (
        ({"dataset": "synthetic:90:6x6x1:4"}, "the same classes"),
        ({"dataset": "synthetic:90:5x5x1:3"}, "the same image shape"),
        ({"split_seed": 3}, "the same (test|validation) part"),
        ({"validation": None}, "the same validation part"),
    ):
        other = tmp_path / f"other-{len(message)}-{'split' in str(change)}"
        config = dataclasses.replace(
            tiny_config,
            epochs=1,
            model="linear",
            model_options=(),
            warmup_epochs=0.0,
            seeds=1,
            run_dir=other,
            **change,
        )
        if not other.exists():
            train.run(config)
        with pytest.raises(ValueError, match=message):
            of_runs(tiny_run, other)
        shutil.rmtree(tmp_path / "of")
        shutil.rmtree(other)
