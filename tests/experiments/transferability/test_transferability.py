"""Halves of the classes, the stages that each network starts with, and the claims."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from scipy import stats

from cnnlab.studies import study
from cnnlab.studies.build import load_data
from cnnlab.studies.claims import UNDECIDED, difference
from cnnlab.train.state import state_shapes
from experiments import transferability
from experiments.transferability.claims import compare
from experiments.transferability.class_splits import (
    RANDOM,
    Member,
    accuracy_within_halves,
    dissimilar_half,
    make_members,
    member_images,
)
from experiments.transferability.config import TREATMENTS

TINY = transferability.Config(
    dataset="synthetic:60:4x4x1:6",
    half=("class1", "2"),
    model="mlp",
    model_options=("widths=(5,4)",),
    per_class=None,
    epochs=1,
    batch_size=5,
    seeds=2,
    quiet=True,
)
DISSIMILAR = ("loops", (0, 2))


# Halves --------------------------------------------------------------------------------------


def test_the_halves_of_a_repetition_are_each_other_s_partners_and_have_the_given_sizes():
    members = make_members(6, (3, 4), DISSIMILAR)
    assert [m.cut for m in members] == [RANDOM] * 4 + ["loops"] * 4
    for place, member in enumerate(members):
        other = members[member.partner]
        assert other.partner == place and other.repetition == member.repetition
        assert sorted(member.classes + other.classes) == list(range(6))
        assert len(member.classes) == (2 if place % 2 == 0 else 4)
    assert members[4].classes == members[6].classes == (0, 2)
    # Of their own for each half and repetition; the same in both cuts.
    assert [m.seed for m in members] == [6, 7, 8, 9] * 2


def test_without_a_given_cut_half_of_the_classes_are_drawn_anew_for_each_repetition():
    members = make_members(10, range(8))
    assert {m.cut for m in members} == {RANDOM} and {len(m.classes) for m in members} == {5}
    assert len({m.classes for m in members[::2]}) > 4


def test_known_data_sets_have_a_dissimilar_cut_unless_none_is_wanted():
    train = load_data(dataclasses.replace(TINY, dataset="digits")).train
    assert dissimilar_half("digits", train, None)[1] == (0, 6, 8, 9)
    assert dissimilar_half("digits", train, ()) is None
    assert dissimilar_half("synthetic", train, None) is None
    assert dissimilar_half("digits", train, ("3", "1")) == ("given halves", (3, 1))


def test_all_members_train_on_as_many_images_of_their_own_classes():
    train = load_data(TINY).train.take(np.r_[0:55])  # some classes have fewer than others
    members = make_members(6, (0, 1), DISSIMILAR)
    rows = member_images(members, train)
    least = np.bincount(train.labels).min()
    assert rows.dtype == np.int32 and rows.shape[1] >= 2 * least
    for row, member in zip(rows, members, strict=True):
        assert len(set(row)) == len(row)
        counts = np.bincount(train.labels[row], minlength=6)
        assert counts.sum() == counts[list(member.classes)].sum()
        own = counts[list(member.classes)]
        assert own.max() - own.min() <= 1


def test_a_network_is_asked_about_its_half_only():
    members = [Member("", 0, (0, 2), 0, 1), Member("", 0, (1, 3), 0, 0)]
    labels = np.array([0, 1, 2, 3])
    logits = np.zeros((2, 4, 4))
    logits[:, :, 1] = 9  # the answer of all, if class 1 may be one
    logits[0, :, 0] = 1
    np.testing.assert_allclose(accuracy_within_halves(logits, labels, members), [0.5, 0.5])
    logits[0, 2, 2] = 2
    np.testing.assert_allclose(accuracy_within_halves(logits, labels, members), [1.0, 0.5])


# The experiment ------------------------------------------------------------------------------


def test_every_network_starts_with_the_stages_of_its_source(finished):
    _, _, asked = finished
    base, members = asked["base"], make_members(6, (0, 1), ("given halves", (1, 2)))
    trained = answer("base", base["recipe"])
    fresh = asked["B1B"]["initial"].params["head"]["dense"]["kernel"]
    assert len({leaf.tobytes() for leaf in np.asarray(fresh)}) == len(members)
    for letter, sources in (
        ("B", list(range(8))),
        ("A", [member.partner for member in members]),
    ):
        for depth, kept in ((1, ("stage1",)), (2, ("stage1", "stage2"))):
            for sign in ("", "-tuned"):
                given = asked[f"{letter}{depth}B{sign}"]
                np.testing.assert_array_equal(given["subsets"], base["subsets"])
                assert given["seeds"] == base["seeds"] == tuple(member.seed for member in members)
                params = given["initial"].params
                for stage in ("stage1", "stage2", "head"):
                    own = np.asarray(params[stage]["dense"]["kernel"])
                    theirs = trained.params[stage]["dense"]["kernel"][sources]
                    assert np.array_equal(own, theirs) == (stage in kept)
                np.testing.assert_array_equal(params["head"]["dense"]["kernel"], fresh)
                rates = given["recipe"].rates
                one = jax.tree.map(lambda x: x[0], params)
                learning = {"stage1", "stage2", "head"} - set(kept)
                assert (rates is None) if sign else set(rates.trainable(one)) == learning


def test_a_run_leaves_the_figure_every_treatment_and_claims_with_verdicts(finished):
    directory, result, _ = finished
    assert (directory / "figures/transferability.png").read_bytes().startswith(b"\x89PNG")
    assert result["stages"] == ["stage1", "stage2"] and result["images"] == 2 * 10
    for cut in (RANDOM, "given halves"):
        rows = result["cuts"][cut]["treatments"]
        places = [(each["treatment"], each["depth"]) for each in rows]
        assert places == [(name, depth) for name in TREATMENTS for depth in (1, 2)]
        assert all(len(each["difference"]["values"]) == 2 for each in rows)
    assert result["cuts"]["given halves"]["halves"][0] == ["class1", "class2"]
    stored = json.loads((directory / "result.json").read_text())
    assert stored["claims"] == result["claims"] and stored["claims"][-1]["at"] == "both"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depths": (3,)}, "depths must be in 1 to 2, the stages of mlp"),
        ({"half": ("class1",)}, "both halves must have at least 2 of the 6"),
        ({"half": ("class1", "1")}, "each named once"),
        ({"half": ("clas1", "2")}, "class1"),
        ({"dataset": "synthetic:60:4x4x1:3", "half": None}, "need 4 of them or more, got 3"),
        ({"batch_size": 32}, "a batch size of at most 20"),
        ({"model": "linear", "model_options": ()}, "nothing to keep"),
    ],
)
def test_invalid_settings_are_refused_before_anything_is_written(settings, message, tmp_path):
    config = dataclasses.replace(TINY, run_dir=tmp_path / "run", **settings)
    with pytest.raises(ValueError, match=message):
        transferability.run(config)
    assert not (tmp_path / "run").exists()


# Claims --------------------------------------------------------------------------------------


def test_claims_are_tested_on_the_means_that_they_are_about():
    base = np.array([0.5, 0.6, 0.7])
    noise = np.array([-0.01, 0.0, 0.01])
    bnb = np.stack([base, base - 0.1, base - 0.2 + noise, base - 0.02])
    accuracies = {
        "base": base,
        "BnB": bnb,
        "BnB+": np.stack([base] * 4),
        "AnB": np.stack([base, base - 0.1, base - 0.2, base - 0.3 + noise]),
        "AnB+": np.stack([base + 0.02 + noise, base, base, base]),
    }
    cuts = {RANDOM: accuracies, "given": {**accuracies, "AnB": accuracies["AnB"] - 0.1}}
    rows = [claim.to_row() for claim in compare(cuts, [1, 2, 3, 4], all_stages=True)]
    by_claim = {(row["claim"], row["at"]): row for row in rows}
    gained = by_claim["transferred stages, fine-tuned, beat the base network", RANDOM]
    wanted = 0.005 + 0.0025 * stats.t.ppf(0.975, 2) / np.sqrt(3) * np.array([-1, 1])
    np.testing.assert_allclose(gained["interval"], wanted)
    assert gained["verdict"] == UNDECIDED and gained["published"] == 0.016
    assert gained["source"].endswith("+1.6 points")
    dip = by_claim["frozen stages of the same half are worst when parted in the middle", RANDOM]
    assert dip["mean"] == pytest.approx(-0.01 + 0.15) and dip["verdict"] == "reproduced"
    further = by_claim["the loss is larger where the halves differ more", "both"]
    np.testing.assert_allclose(further["values"], 0.1)
    specific = "the last stages are specific: the other half's, frozen, are worse than the base"
    assert by_claim[specific, "given"]["mean"] == pytest.approx(0.4)
    assert by_claim[specific, RANDOM]["published"] == 0.08  # not of other cuts, nor in the middle
    assert by_claim[specific, "given"]["published"] is further["published"] is None
    shorter = compare(cuts, [1, 2, 3, 4], all_stages=False)
    assert {claim.published for claim in shorter} == {None, 0.016}
    assert difference(further).startswith("+10.00 points")
    two = {name: values[:2] if name != "base" else values for name, values in accuracies.items()}
    fewer = compare({RANDOM: two}, [1, 2], all_stages=True)
    assert not any("middle" in claim.text for claim in fewer)


def test_published_losses_are_those_of_the_same_cut_only():
    loops = {
        name: np.full((2, 3) if name != "base" else 3, 0.5) + 0.01 * np.arange(3)
        for name in ("base", *TREATMENTS)
    }
    cuts = {RANDOM: loops, "vehicles against animals": loops}
    claims = compare(cuts, [1, 2], all_stages=True)
    losses = {
        claim.at: claim.published for claim in claims if claim.difference[:10] == "base - AnB"
    }
    assert losses == {RANDOM: 0.08, "vehicles against animals": 0.25}
    assert claims[-1].at == "both" and claims[-1].published == 0.17


# Helpers -------------------------------------------------------------------------------------


def answer(name, recipe):
    """Made states, other ones for each part and member."""
    shapes = state_shapes(recipe, (4, 4, 1))
    generator = np.random.default_rng(len(name))
    return jax.tree.map(lambda x: generator.standard_normal((8, *x.shape)).astype(x.dtype), shapes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The experiment with made networks in the place of trainings; and what was asked of these."""
    asked = {}

    def train(s, name, recipe, part, *, options):
        fields = ("seeds", "subsets", "initial")
        asked[name] = {field: getattr(options, field) for field in fields} | {"recipe": recipe}
        states = answer(name, dataclasses.replace(recipe, rates=None))
        return study.Trained(states, {}, 2, 3.0)

    directory = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study.Study, "train", train)
        result = transferability.run(dataclasses.replace(TINY, run_dir=directory))
    return directory, result, asked


@pytest.mark.slow
def test_a_real_run_is_resumed_to_the_same(tmp_path):
    config = dataclasses.replace(TINY, depths=(1,), run_dir=tmp_path / "run")
    result = transferability.run(config)
    again = transferability.run(transferability.Config(resume=tmp_path / "run", quiet=True))
    assert again["cuts"] == result["cuts"] and again["claims"] == result["claims"]
