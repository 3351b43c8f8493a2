"""The study of ensembles: which networks are combined, and what is claimed of them."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from jax import numpy as jnp
from scipy.special import softmax

from cnnlab.ensemble import concatenate_members
from cnnlab.studies import claims, study
from cnnlab.train import states_of
from experiments import cli, ensemble_study
from experiments.ensemble_study import experiment
from experiments.ensemble_study.claims import study_comparisons
from experiments.ensemble_study.summary import summary_lines

RESULTS = pathlib.Path(__file__).parents[3] / "results"
TINY = ensemble_study.Config(
    dataset="synthetic:60:6x6x1:3",
    model="linear",
    model_options=(),
    epochs=4,
    members=2,
    batch_size=15,
    seeds=2,
)


def constant_logits(seed):
    """The logits of a network that says the same of every image, and which one it is."""
    return np.array([0.0, 0.5 * seed, -0.1 * seed], np.float32)


def constant_networks(recipe, seeds):
    """States of such networks; the weights of an epoch do not matter."""

    def one(seed):
        dense = {"kernel": jnp.zeros((36, 3)), "bias": jnp.asarray(constant_logits(seed))}
        return states_of(recipe, {"params": {"head": {"dense": dense}}})

    return concatenate_members([one(seed) for seed in seeds])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The study with networks in the place of trainings; and which trainings there were."""
    asked = {}

    def train(
        self, name, recipe, train, validation=None, *, config, options, keep_epochs=(), **settings
    ):
        asked[name] = (options.epochs, options.seeds)
        assert config.epochs == options.epochs
        states = constant_networks(recipe, options.seeds)
        return study.Trained(states, dict.fromkeys(keep_epochs, states), 12, 6.0)

    directory = tmp_path_factory.mktemp("runs") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study.Study, "train", train)
        probabilities = {}
        score_methods = experiment.score_methods

        def remember(methods, labels, **settings):
            probabilities.update({each.name: each.probabilities for each in methods})
            return score_methods(methods, labels, **settings)

        patch.setattr(experiment, "score_methods", remember)
        result = ensemble_study.run(dataclasses.replace(TINY, run_dir=directory))
    return directory, result, asked, probabilities


def test_budgets_are_equal_and_no_two_networks_of_an_ensemble_have_one_seed(finished):
    _, result, asked, _ = finished
    assert asked["whole"] == (4, (0, 1, 2, 3))
    assert asked["short-2"] == (2, (0, 1, 2, 3))
    for name in ("no-cycles", "cycles", "high-cycles", "swa"):
        assert asked[name] == (4, (0, 1))
    for name, actual in result["methods"].items():
        assert actual["cost"]["epochs"] == (8 if "2 budgets" in name else 4)


def test_a_repetition_s_ensemble_is_of_its_own_networks(finished):
    _, _, _, probabilities = finished
    for repetition, (first, second) in enumerate([(0, 2), (1, 3)]):
        alone = softmax(constant_logits(first).astype(np.float64))
        both = (alone + softmax(constant_logits(second).astype(np.float64))) / 2
        for name, wanted in (
            ("single, cosine", alone),
            ("EMA", alone),
            ("SWA", alone),
            ("2 snapshots", alone),
            ("ensemble of 2, 2 budgets", both),
            ("ensemble of 2, one budget", both),
        ):
            actual = probabilities[name][repetition]
            np.testing.assert_allclose(actual, np.broadcast_to(wanted, actual.shape), atol=1e-6)


def test_every_claim_has_a_verdict_and_the_summary_shows_all_methods(finished):
    directory, result, _, _ = finished
    stored = json.loads((directory / "result.json").read_text())
    rows = stored["claims"]
    assert len(rows) == 11
    assert {row["verdict"] for row in rows} <= {"reproduced", "contradicted", "undecided"}
    assert [row["claim"] for row in claims.read_rows(stored)] == [row["claim"] for row in rows]
    text = summary_lines(stored)
    for name in (*result["methods"], *result["diversity"]):
        assert any(line.startswith(f"{name}  ") for line in text)
    assert any(line.startswith("A cycle is 8 updates here") for line in text)
    for figure in ("comparison", "by_count"):
        assert (directory / f"figures/{figure}.png").is_file()


def test_published_differences_are_those_of_the_data_set_where_there_are_some():
    for dataset, wanted in (("cifar10", 0.0552 - 0.0532), ("cifar100", 0.2802 - 0.2419)):
        first, second, *_ = study_comparisons(5, dataset)
        assert first.published == pytest.approx(wanted)
        assert (first.better, first.worse) == ("5 snapshots, high rate", "single, step")
        assert "5.32/24.19 against 5.52/28.02" in first.source
        assert second.published is None and second.source == "not compared"


@pytest.mark.parametrize("kept", sorted(RESULTS.glob("ensemble_study-*.json")))
def test_the_summary_works_on_kept_results(kept):
    result = json.loads(kept.read_text())
    text = "\n".join(summary_lines(result))
    assert all(name in text for name in result["methods"])


def test_a_size_sets_the_defaults_and_what_is_asked_for_stays():
    actual = ensemble_study.Config.for_size("hour", epochs=12, seeds=3)
    assert (actual.epochs, actual.seeds, actual.members, actual.crop) == (12, 3, 5, 2)
    with pytest.raises(ValueError, match="full"):
        ensemble_study.Config.for_size("ful")


def test_the_size_on_the_command_line_sets_the_defaults():
    def parsed(*arguments):
        return cli.parse(ensemble_study.Config, arguments, "", "ensemble_study")

    assert parsed("--size", "hour", "--epochs", "12") == ensemble_study.Config.for_size(
        "hour", epochs=12
    )
    assert parsed() == ensemble_study.Config()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"members": 1}, "members must be at least 2"),
        ({"members": 5}, "need an epoch each, got a budget of 4"),
        ({"ema_decay": None}, "must be given"),
    ],
)
def test_a_study_that_compares_nothing_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **settings)
