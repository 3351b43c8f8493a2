"""The study of ensembles: who is combined with whom, and what is said of it."""

import dataclasses
import json

import numpy as np
import pytest
from jax import numpy as jnp
from scipy.special import softmax

from cnnlab.ensemble import concatenate_members
from cnnlab.train import states_of
from experiments import ensemble_study, ensembles_page
from experiments.parts import Part

TINY = ensemble_study.Config(
    dataset="synthetic:60:6x6x1:3",
    model="linear",
    model_options=(),
    epochs=4,
    members=2,
    batch_size=15,
    seeds=2,
)


def answer(seed):
    """The logits of a network that says the same of every image, and which one it is."""
    return np.array([0.0, 0.5 * seed, -0.1 * seed], np.float32)


def said(recipe, seeds):
    """States of such networks; the weights of an epoch do not matter."""

    def one(seed):
        dense = {"kernel": jnp.zeros((36, 3)), "bias": jnp.asarray(answer(seed))}
        return states_of(recipe, {"params": {"head": {"dense": dense}}})

    return concatenate_members([one(seed) for seed in seeds])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The study with networks in the place of trainings; and which trainings there were."""
    asked = {}

    def train_part(config, whole, name, recipe, train, validation=None, **settings):
        seeds = settings.get("seeds", config.all_seeds)
        asked[name] = (config.epochs, tuple(seeds))
        states = said(recipe, seeds)
        kept = dict.fromkeys(settings.get("keep_epochs", ()), states)
        return Part(states, kept, 12, 6.0)

    directory = tmp_path_factory.mktemp("runs") / "study"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ensemble_study, "train_part", train_part)
        probabilities = {}
        judged = ensemble_study.judgement.judged

        def remember(methods, labels, **settings):
            probabilities.update({each.name: each.probabilities for each in methods})
            return judged(methods, labels, **settings)

        patch.setattr(ensemble_study.judgement, "judged", remember)
        result = ensemble_study.run(dataclasses.replace(TINY, run_dir=directory))
    return directory, result, asked, probabilities


def test_budgets_are_equal_and_no_two_networks_of_an_ensemble_have_one_seed(finished):
    _, result, asked, _ = finished
    assert asked["whole"] == (4, (0, 1, 2, 3))
    assert asked["short-2"] == (2, (0, 1, 2, 3))
    for name in ("no-cycles", "cycles", "high-cycles", "swa"):
        assert asked[name] == (4, (0, 1))
    for name, found in result["methods"].items():
        assert found["cost"]["epochs"] == (8 if "2 budgets" in name else 4)


def test_a_repetition_s_ensemble_is_of_its_own_networks(finished):
    _, _, _, probabilities = finished
    for repetition, (first, second) in enumerate([(0, 2), (1, 3)]):
        alone = softmax(answer(first).astype(np.float64))
        both = (alone + softmax(answer(second).astype(np.float64))) / 2
        for name, wanted in (
            ("single, cosine", alone),
            ("EMA", alone),
            ("SWA", alone),
            ("2 snapshots", alone),
            ("ensemble of 2, 2 budgets", both),
            ("ensemble of 2, one budget", both),
        ):
            found = probabilities[name][repetition]
            np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), atol=1e-6)


def test_every_claim_has_a_verdict_and_the_page_shows_all_methods(finished, tmp_path):
    directory, result, _, _ = finished
    assert len(result["claims"]) == 11
    stored = json.loads((directory / "result.json").read_text())
    page = ensembles_page.page([(tmp_path / "results/study.json", stored)], [], [])
    for name in (*result["methods"], *result["claims"]):
        assert f"| {name} |" in page
    assert "(../results/study.png)" in page
    for figure in ("comparison", "by_count"):
        assert (directory / f"figures/{figure}.png").is_file()


def test_a_size_sets_the_defaults_and_what_is_asked_for_stays():
    found = ensemble_study.Config.sized("hour", epochs=12, seeds=3)
    assert (found.epochs, found.seeds, found.members, found.crop) == (12, 3, 5, 2)
    with pytest.raises(ValueError, match="full"):
        ensemble_study.Config.sized("ful")


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
