"""Probes of the stages of a tiny run: against scikit-learn, and against itself."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from scipy import stats
from sklearn.neighbors import KNeighborsClassifier

from cnnlab.mesh import make_mesh
from cnnlab.studies import study, trained
from cnnlab.studies.build import load_data, make_recipe
from cnnlab.studies.claims import UNDECIDED, lines
from cnnlab.train import evaluate
from cnnlab.train.program import initialise
from cnnlab.transfer.features import pixels
from experiments import probe, train
from experiments.cli import host
from experiments.probe import claims, experiment, measurements
from experiments.probe.networks import Source
from experiments.probe.summary import summary_lines

QUICK = {"probes": ("ridge",), "neighbours": 1, "shown": 2, "queries": 2, "quiet": True}


@pytest.fixture(scope="module")
def run_of_networks(tmp_path_factory, finished):
    directory = tmp_path_factory.mktemp("probes") / "probe"
    config = probe.Config(from_run=finished[0], run_dir=directory, **QUICK)
    return directory, probe.run(config)


def accuracy(result, network, method, stage):
    (point,) = [
        each
        for each in result["points"]
        if (each["network"], each["method"], each["stage"]) == (network, method, stage)
    ]
    return point["values"]


def test_a_run_is_probed_with_its_own_data_and_seeds(run_of_networks, finished, tiny_config):
    directory, result = run_of_networks
    assert (result["dataset"], result["seeds"]) == (tiny_config.dataset, (0, 1))
    splits = load_data(tiny_config)
    networks = trained.load_run(finished[0])
    own = evaluate(networks.recipe, networks.states, splits.test)["accuracy"]
    np.testing.assert_allclose(result["accuracy"]["values"], own)
    theirs = KNeighborsClassifier(1).fit(pixels(splits.train), splits.train.labels)
    wanted = theirs.score(pixels(splits.test), splits.test.labels)
    np.testing.assert_allclose(accuracy(result, "pixels", "l2", "pixels"), [wanted])
    for network in ("trained", "untrained"):
        assert len(accuracy(result, network, "ridge", "stage1")) == 2
    for figure in ("accuracy_by_stage", "neighbours"):
        assert (directory / f"figures/{figure}.png").is_file()
    assert json.loads((directory / "result.json").read_text())["points"] == result["points"]


def test_what_was_measured_is_not_measured_again(monkeypatch, run_of_networks):
    directory, result = run_of_networks
    (directory / "result.json").unlink()
    monkeypatch.setattr(experiment, "measure", None)
    again = probe.run(probe.Config(resume=directory))
    assert again["points"] == result["points"] and again["claims"] == result["claims"]
    assert again["seconds"] == result["seconds"] > 0  # of all sittings


def test_a_network_that_has_not_learned_is_its_own_control(monkeypatch, tmp_path, tiny_config):
    def train(s, name, recipe, part):
        states, _ = initialise(recipe, part, np.uint32([s.config.seed]), make_mesh())
        return study.Trained(states, {}, 1, 1.0)

    monkeypatch.setattr(study.Study, "train", train)
    given = {"dataset": tiny_config.dataset, "model": "mlp", "seeds": 1, "examples": 30}
    given |= {"model_options": tiny_config.model_options, "run_dir": tmp_path / "probe"}
    result = probe.run(probe.Config(**given, **QUICK))
    assert result["examples"] == 30
    against_random = [row for row in result["claims"] if "random" in row["claim"]]
    assert len(against_random) == 3  # the stem, which flattens, stage1 and the head
    for row in against_random:
        assert row["mean"] == 0 and row["over"] == "images"
        assert row["verdict"] == UNDECIDED


def test_claims_are_the_differences_of_what_is_right():
    def right(count, seeds=2):
        return np.tile(np.arange(10) < count, (seeds, 1)) ^ np.eye(seeds, 10, k=8, dtype=bool)

    correct = {
        "pixels": {name: {"pixels": right(3, 1)} for name in ("ridge", "l2", "cosine")},
        "trained": {
            name: {"stem": right(4), "head": right(6)} for name in ("ridge", "l2", "cosine")
        },
        "untrained": {name: {"stem": right(4), "head": right(2)} for name in ("ridge",)},
    }
    rows = [claim.to_row() for claim in claims.compare(correct, "ridge")]
    assert [row["at"] for row in rows[:2]] == ["stem, ridge", "head, ridge"]
    deeper = {row["difference"]: row["mean"] for row in rows if "one before" in row["claim"]}
    wanted = {"accuracy: stem - pixels": 0.1, "accuracy: head - stem": 0.2}
    assert deeper == pytest.approx(wanted)
    random = [row["mean"] for row in rows if "random" in row["claim"]]
    assert random == pytest.approx([0, 0.4])
    neighbours = {row["at"]: row["mean"] for row in rows if "neighbours" in row["claim"]}
    assert neighbours == pytest.approx({"stem, L2": 0.1, "stem, cosine": 0.1})
    table = summary_lines({"points": claims.accuracies(correct)})
    assert table[1].split()[:3] == ["pixels", "40.00", "40.00"]


def test_a_line_names_stage_and_method_and_what_its_interval_is_over():
    one, other = np.ones((2, 4), bool), np.zeros((2, 4), bool)

    def line(ours, theirs):
        by_stage = {"stem": ours, "head": ours}
        correct = {
            "pixels": {name: {"pixels": theirs[:1]} for name in ("ridge", "l2", "cosine")},
            "trained": dict.fromkeys(("ridge", "l2", "cosine"), by_stage),
            "untrained": {"ridge": {"stem": theirs, "head": theirs}},
        }
        (claim,) = [
            claim
            for claim in claims.compare(correct, "ridge")
            if "random" in claim.text and claim.at == "head, ridge"
        ]
        return lines([claim.to_row()])[0]

    assert "at random ones, head, ridge (accuracy: trained - random weights): " in line(one, other)
    assert "+100.00 points (95 % interval +100.00 to +100.00)" in line(one, other)
    images = line(one[:1], other[:1])
    assert "(95 % interval over images by bootstrap +100.00 to +100.00): reproduced" in images


def test_one_network_against_several_random_ones_is_compared_over_seeds_and_images():
    generator = np.random.default_rng(0)
    image = generator.random(80)
    trained = (image < 0.8)[None]
    random = np.stack([image < share for share in (0.3, 0.5, 0.7)])
    methods = ("ridge", "l2", "cosine")

    def of(right):
        return {name: {"stem": right, "head": right} for name in methods}

    pixels = {name: {"pixels": trained} for name in methods}
    correct = {"pixels": pixels, "trained": of(trained), "untrained": of(random)}
    rows = [claim.to_row() for claim in claims.compare(correct, "ridge")]
    (row,) = (row for row in rows if "random" in row["claim"] and row["stage"] == "head")
    seeds = stats.ttest_rel(trained.mean(1).repeat(3), random.mean(1)).confidence_interval(0.95)
    each = trained[0] - random.mean(0)
    images = 1.96 * stats.sem(each)
    reach = np.hypot((seeds.high - seeds.low) / 2, images)
    assert row["over"] == "seeds and images" and row["method"] == "ridge"
    assert row["mean"] == pytest.approx(each.mean())
    assert row["interval"] == pytest.approx([each.mean() - reach, each.mean() + reach], rel=0.05)
    assert reach > 2 * images and row["verdict"] == UNDECIDED
    assert row["over_seeds"]["interval"] == pytest.approx(list(seeds))
    assert row["over_images"]["mean"] == pytest.approx(row["mean"])
    assert "95 % interval over seeds and images" in lines([row])[0]
    assert {r["over"] for r in rows if "random" not in r["claim"]} == {"images"}


def test_random_networks_are_as_they_are_initialised(tiny_config):
    splits = load_data(tiny_config)
    config = probe.Config(dataset=tiny_config.dataset, model="resnet8", seeds=1)
    source = Source(splits, make_recipe(config, splits.train), "trained", "x")
    s = study.open(config, host())
    networks = {name: states for name, states, _ in experiment._networks(s, source)}
    assert networks["trained"] == "trained"
    wanted, _ = initialise(source.recipe, splits.train, np.uint32(config.all_seeds), make_mesh())
    jax.tree.map(np.testing.assert_array_equal, networks["untrained"], wanted)
    statistics = networks["untrained"].model_state["batch_stats"]["stem"]["norm"]
    assert not statistics["mean"].any() and (statistics["var"] == 1).all()


def test_only_the_last_stage_is_the_network_itself(run_of_networks, tiny_config):
    splits = load_data(tiny_config)
    names = ("stage1", "head")
    images = measurements.Images(splits.train, splits.validation, splits.test, np.arange(2))
    features = [
        {name: pixels(part)[:, : part.num_classes] for name in names} for part in images.parts
    ]
    measurement = measurements.measure(probe.Config(**QUICK), images, "head", features)
    assert [key for key in measurement if key.startswith("own/")] == ["own/head"]
    hidden = {"own/stage1": np.ones(4, bool)}
    assert measurements.own_correct([hidden], "head") is None


def test_intervals_are_student_s_over_seeds_and_wilson_s_over_images():
    seeds = claims.accuracy(np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], bool))
    assert seeds["interval"] == pytest.approx(
        [0.5 - 4.302653 * 0.25 / 3**0.5, 0.5 + 0.621035], 1e-4
    )
    # Wilson's interval of 9 out of 10: 0.596 to 0.982 (Agresti and Coull, 1998).
    images = claims.accuracy((np.arange(10) < 9)[None])
    assert images["interval"] == pytest.approx([0.5958, 0.9821], abs=1e-4)
    assert (seeds["interval_over"], images["interval_over"]) == ("seeds", "images")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": ("stage2",)}, "unknown stage 'stage2'"),
        ({"neighbours": 500}, "training images that they are among"),
        ({"validation": None}, "--validation 0.1"),
        ({"probes": ()}, "must be a linear probe"),
        ({"examples": 3}, "at least 2 training images"),
        ({"examples": 2}, "at least one for each of 3 classes"),
        ({"queries": 0}, "at least 1, got 0"),
        ({"pool": "max"}, "--pool must be"),
        ({"model": "unet", "model_options": ("width=2", "depth=1")}, "no classifier"),
        ({"from_run": "run", "weights": "x.npz"}, "not both"),
        ({"mapping": "vgg"}, "--mapping: only with --weights"),
        (
            {"from_run": "run", "weights_normalization": "caffe"},
            "--weights-normalization: only with --weights",
        ),
    ],
)
def test_invalid_settings_are_refused_before_training(tmp_path, tiny_config, settings, message):
    given = {"dataset": tiny_config.dataset, "model": "mlp", "run_dir": tmp_path / "p"}
    given["model_options"] = tiny_config.model_options
    config = probe.Config(**{**QUICK, **given, **settings})
    with pytest.raises(ValueError, match=message):
        probe.run(config)
    assert not (tmp_path / "p").exists()


def test_another_data_set_than_the_run_s_is_refused(finished):
    with pytest.raises(ValueError, match="trained with --dataset synthetic"):
        probe.run(probe.Config(from_run=finished[0], dataset="mnist"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 3}, "trained with --seeds 2, got 3: leave it out"),
        ({"seed": 1}, "trained with --seed 0, got 1"),
        ({"per_class": 7}, "trained with --per-class None, got 7"),
        ({"classes": ("0", "1")}, "trained with --classes None"),
        ({"validation": 0.2}, "trained with --validation 0.1, got 0.2"),
        ({"normalization": "unit"}, "trained with --normalization channel, got 'unit'"),
    ],
)
def test_settings_that_the_run_has_others_of_are_refused(finished, settings, message):
    with pytest.raises(ValueError, match=message):
        probe.run(probe.Config(from_run=finished[0], **settings))


def test_the_advice_for_a_run_that_trained_on_its_validation_part_can_be_followed(
    tiny_config, tmp_path
):
    whole = tmp_path / "whole"
    train.run(dataclasses.replace(tiny_config, epochs=1, validation=None, run_dir=whole))
    with pytest.raises(ValueError, match="Give a run that was trained with --validation 0.1, or"):
        probe.run(probe.Config(from_run=whole, **QUICK))
