"""Fine-tuning by name: what learns, what is cached, what is recommended and where it begins."""

import dataclasses
import json
import re

import jax
import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cnnlab import models
from cnnlab.data.record import DataRecord
from cnnlab.models import weights
from cnnlab.run_directory import ResumeError
from cnnlab.studies import provenance, trained, weights_files
from cnnlab.studies.build import load_data, make_recipe
from cnnlab.studies.claims import explain
from cnnlab.studies.recipe_settings import AMOUNTS, LECTURE, SIMILARITIES
from cnnlab.studies.run_data import check_unseen
from cnnlab.studies.settings import WeightsFile
from cnnlab.studies.study import Study, Trained
from cnnlab.train import DivergedError, evaluate
from cnnlab.train.state import state_shapes
from cnnlab.transfer.surgery import SurgeryError
from experiments import finetune
from experiments.finetune import figures, recommendation, source
from experiments.finetune.claims import compare
from experiments.finetune.recommendation import Similarity, recommend

TINY = finetune.Config(
    dataset="synthetic:160:4x4x1:4",
    model="mlp",
    model_options=("widths=(8,6)",),
    source_classes=("0", "1"),
    source_epochs=4,
    recipes=("linear", "recommended", "scratch"),
    per_class=12,
    epochs=3,
    batch_size=12,
    seeds=2,
    quiet=True,
)


OF_FILE = {"weights": "b.npz", "source_classes": (), "source_epochs": finetune.Config.source_epochs}


def noise(shapes, seed=0):
    """Values in the place of shapes: nothing is compiled."""
    generator = np.random.default_rng(seed)
    return jax.tree.map(lambda s: (0.5 * generator.normal(size=s.shape)).astype(s.dtype), shapes)


def made(study, name, recipe, train, validation=None, *, config, options=None):
    """In the place of a training: its initial weights, or noise."""
    state = state_shapes(recipe, train.image_shape)
    initial = None if options is None else options.initial
    if initial is None:
        each = [noise(state, seed) for seed in config.all_seeds]
        initial = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    return Trained(initial, {}, 12, 3.0)


@pytest.fixture(scope="module")
def tuned_run(tmp_path_factory):
    """A run without trainings."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "train", made)
        patch.setattr(recommendation, "measure", lambda *_, **__: similarity(0.7, 0.9, 0.6))
        result = finetune.run(dataclasses.replace(TINY, run_dir=directory))
    return directory, result


def test_a_run_says_what_each_recipe_did_and_leaves_a_figure(tuned_run):
    directory, result = tuned_run
    stored = json.loads((directory / "result.json").read_text())
    assert stored["recipes"].keys() == result["recipes"].keys() >= {"linear", "scratch"}
    assert stored["origin"] == "mlp trained on synthetic:160:4x4x1:4, class0, class1"
    assert stored["images"]["train"] == 24 and len(stored["classes"]) == 2
    linear, scratch = stored["recipes"]["linear"], stored["recipes"]["scratch"]
    assert (linear["cached"], scratch["cached"]) == ("stage2", None)
    assert (linear["parameters"], scratch["parameters"]) == (14, 17 * 8 + 9 * 6 + 14)
    assert stored["recommended"]["recipe"] == "linear" and len(stored["recipes"]) == 2
    assert "12 images a class are few" in stored["recommended"]["reason"]
    difference = np.subtract(*(each["test_accuracy"]["values"] for each in (linear, scratch)))
    assert stored["claims"][0]["mean"] == pytest.approx(difference.mean())
    assert (directory / "figures" / "recipes.png").is_file()


def test_a_resume_goes_on_from_the_weights_that_it_began_with(tuned_run, monkeypatch):
    directory, _ = tuned_run
    origin = json.loads((directory / "origin.json").read_text())
    assert origin["name"] == "mlp trained on synthetic:160:4x4x1:4, class0, class1"

    def others(*arguments, **settings):
        part = made(*arguments, **settings)
        return part._replace(
            states=jax.tree.map(lambda leaf: leaf + leaf.dtype.type(1), part.states)
        )

    monkeypatch.setattr(Study, "train", others)
    with pytest.raises(ResumeError, match=f"digest {origin['weights']}.*or start a new run"):
        finetune.run(finetune.Config(resume=directory))


@pytest.mark.parametrize("damage", ["gone", "flip", "", "null", '{"name": "mlp"}'])
def test_a_record_of_the_first_weights_that_is_gone_or_damaged_is_named(tuned_run, damage):
    directory, _ = tuned_run
    path = directory / "origin.json"
    whole = path.read_text()
    try:
        if damage == "gone":
            path.unlink()
        else:
            path.write_text(whole.replace("mlp", "mlq") if damage == "flip" else damage)
        with pytest.raises(ResumeError, match=r"origin\.json is (gone|damaged), which") as error:
            finetune.run(finetune.Config(resume=directory))
        assert "\n" not in str(error.value) and not (damage == "gone" and path.exists())
    finally:
        path.write_text(whole)


def test_a_recipe_that_diverges_has_no_accuracy_and_is_not_compared(tmp_path, monkeypatch, capsys):
    def train(study, name, *arguments, **settings):
        if name == "linear":
            raise DivergedError(3, study.config.all_seeds, 0.1)
        return made(study, name, *arguments, **settings)

    monkeypatch.setattr(Study, "train", train)
    config = dataclasses.replace(TINY, recipes=("linear", "scratch"), run_dir=tmp_path / "run")
    result = finetune.run(config)
    linear = result["recipes"]["linear"]
    assert (linear["diverged"], linear["test_accuracy"], linear["seconds"]) == (True, None, None)
    assert result["claims"] == []
    assert result["seconds"] > 0
    assert "linear: diverged at a learning rate of 0.03, not compared" in capsys.readouterr().out
    top = trained_for(20, 9.0, 0.9, 0.8)
    both = compare({"linear": linear, "top": top, "scratch": top})
    assert [claim.text for claim in both] == ["top beats training from scratch"]
    assert compare({"top": top, "scratch": linear}) == []
    axes = figures.recipes({"linear": None, "top": [0.5]}, chance=0.25).axes[0]
    dots = axes.lines[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["linear", "top"]
    assert (dots.get_xdata().tolist(), dots.get_ydata().tolist()) == ([50.0], [1.0])


def trained_for(epochs, seconds, *accuracies):
    return {"test_accuracy": accuracies, "epochs": epochs, "seconds": seconds, "diverged": False}


@pytest.mark.parametrize(
    ("ours", "scratch", "wanted"),
    [
        ((20, 9.0), (20, 9.0), "reproduced"),
        (
            (20, 9.0),
            (10, 40.0),
            "reproduced; scratch had fewer epochs, but more time",
        ),
        ((20, 9.0), (30, 4.0), "reproduced"),
        ((20, 9.0), (1, 4.0), "not comparable; scratch had less"),
    ],
)
def test_a_claim_says_what_both_had_and_needs_as_much_for_scratch(ours, scratch, wanted):
    better, worse = (0.9, 0.91, 0.92), (0.7, 0.72, 0.71)
    actual = {"all": trained_for(*ours, *better), "scratch": trained_for(*scratch, *worse)}
    (claim,) = compare(actual)
    row = claim.to_row()
    assert explain(row) == wanted
    budgets = [row[key] for key in ("epochs", "seconds", "scratch_epochs", "scratch_seconds")]
    assert tuple(budgets) == (*ours, *scratch)
    actual = {"all": trained_for(*ours, *worse), "scratch": trained_for(*scratch, *better)}
    (worse_claim,) = compare(actual)
    assert worse_claim.verdict in ("contradicted", "not comparable")


@pytest.mark.slow
def test_a_finished_run_is_read_again_without_training(tmp_path, capsys):
    config = dataclasses.replace(TINY, run_dir=tmp_path / "run", quiet=False)
    result = finetune.run(config)
    assert "epoch 3" in capsys.readouterr().out
    again = finetune.run(finetune.Config(resume=tmp_path / "run"))
    assert "epoch 3" not in capsys.readouterr().out
    assert result["recommended"]["similarity"]["folds"] == 5
    for name, each in result["recipes"].items():
        assert again["recipes"][name]["test_accuracy"] == each["test_accuracy"]
        own = tmp_path / "run" / "networks" / name
        networks = trained.load_run(own)
        actual = evaluate(networks.recipe, networks.states, networks.splits.test)["accuracy"]
        assert actual.tolist() == each["test_accuracy"]["values"]


def test_a_missing_run_is_an_error(tmp_path):
    for settings in ({"resume": tmp_path / "x"}, {"from_run": tmp_path / "x"}):
        with pytest.raises(ResumeError, match="there is no run in"):
            finetune.run(finetune.Config(**settings, runs=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipes": ()}, "at least one recipe"),
        ({"source_classes": ()}, "a trained network is needed"),
        ({"classes": ("1", "2")}, "must be others than the source's 0, 1, got 1"),
        ({"source_classes": ("0", "7")}, "classes 0 to 3, got 7"),
        ({"source_classes": ("0", "1", "2", "3")}, "others than the source's.*got none"),
        ({"from_run": "a", "weights": "b"}, "not from both"),
        ({"weights": "b.npz"}, "leave out --from and --weights"),
        ({**OF_FILE}, "b.npz must be a file"),
        ({**OF_FILE, "weights_normalization": "unit"}, "b.npz must be a file"),
        ({**OF_FILE, "channels": "sum"}, "b.npz must be a file"),
        ({"copies": -1}, "copies must be at least 0"),
        ({"copies": 2, "cache": "none"}, "choose the cache memory or disk"),
        ({"body": 0.0}, "a factor > 0"),
        ({"recipes": ("top",), "top_stages": 4}, "k must be in 1 to 3"),
        ({"recipes": ("layerwise",), "decay": 1.5}, "decay must be in"),
        ({"recipes": ("gradual",), "epochs": 2}, "at least one of the units, got 2 for 3"),
        ({"batch_size": 100}, "batch size of at most"),
        ({"per_class": 1, "batch_size": 2, "warmup_epochs": 0}, "two images of every class, got 1"),
        ({"per_class": 1, "batch_size": 2, "validation": 1}, "would leave a class without any"),
        ({"head_options": ("width=2",)}, "width"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(tmp_path, change, message):
    config = dataclasses.replace(TINY, runs=tmp_path / "runs", **change)
    with pytest.raises((ValueError, FileNotFoundError, TypeError), match=f"(?s){message}"):
        finetune.run(config)
    assert not (tmp_path / "runs").exists()


def test_a_class_of_one_image_can_be_tuned_to_by_a_recipe_that_is_named(tmp_path):
    config = dataclasses.replace(
        TINY, per_class=1, batch_size=2, warmup_epochs=0, recipes=("linear",), runs=tmp_path
    )
    config = source.resolve_defaults(config)
    splits = load_data(config)
    shapes = source.variable_shapes(make_recipe(config, splits.train), splits.train)
    source.check_transfer(config, shapes, 1, splits)


# Where networks come from --------------------------------------------------------------------


def test_the_network_of_a_run_is_one_of_its_members(finished):
    directory, _ = finished
    test = load_data(TINY).test
    first, second = (
        provenance.load_unseen_run(directory, test, member=member) for member in (0, 1)
    )
    assert first.name.endswith("seed 0") and second.name.endswith("seed 1")
    assert first.variables["params"]["head"]["dense"]["kernel"].shape == (8, 3)
    kernels = [each.variables["params"]["stage1"]["dense"]["kernel"] for each in (first, second)]
    assert not np.array_equal(*kernels)
    with pytest.raises(ValueError, match="members 0 to 1, got 2"):
        provenance.load_unseen_run(directory, test, member=2)


def test_a_network_that_has_seen_the_test_part_is_refused(finished, tiny_config):
    own = load_data(tiny_config)
    provenance.load_unseen_run(finished[0], own.test)
    with pytest.raises(ValueError, match="must not have trained .* on 3 of the 3.*--split-seed"):
        provenance.load_unseen_run(finished[0], own.train.take([0, 5, 7]))
    # Where there is no official test part, the split seed says what it is.
    digits = dataclasses.replace(TINY, dataset="digits")
    first, second = (load_data(dataclasses.replace(digits, split_seed=seed)) for seed in (0, 1))
    fives = load_data(dataclasses.replace(digits, classes=("5", "6"), per_class=None))
    check_unseen(DataRecord.of(first), first, first.test, "it")
    check_unseen(DataRecord.of(first), first, fives.test, "it")
    with pytest.raises(ValueError, match="it must not have trained on images that are tested on"):
        check_unseen(DataRecord.of(second), second, fives.test, "it")
    # Twins within a data set, one of them held out, are its own affair.
    twins = dataclasses.replace(first, train=first.test)
    check_unseen(DataRecord.of(twins), twins, first.test, "it")


def test_a_run_that_is_not_finished_is_refused(finished, tmp_path):
    (tmp_path / "config.json").write_bytes((finished[0] / "config.json").read_bytes())
    with pytest.raises(ResumeError, match="must be finished, but it has no result.json"):
        provenance.load_unseen_run(tmp_path, load_data(TINY).test)


def test_a_checkpoint_of_another_family_is_refused(finished, tmp_path):
    config = dataclasses.replace(
        TINY,
        model="resnet8",
        model_options=(),
        source_classes=(),
        source_epochs=finetune.Config.source_epochs,
        from_run=finished[0],
        per_class=None,
        runs=tmp_path / "runs",
    )
    with pytest.raises(ValueError, match="another family, mlp, not of lenet5"):
        finetune.run(dataclasses.replace(config, model="lenet5"))
    with pytest.raises(SurgeryError, match="(?s)another network.*stage1/dense/kernel"):
        finetune.run(dataclasses.replace(config, dataset="synthetic:90:5x5x1:3"))
    assert not (tmp_path / "runs").exists()


def test_weights_of_a_file_have_the_classes_of_the_file(tmp_path):
    network = models.create("resnet8", 7, width=2, norm="group")
    images = jax.ShapeDtypeStruct((1, 8, 8, 3), np.float32)
    variables = noise(jax.eval_shape(network.init, jax.random.key(3), images))
    path = tmp_path / "resnet8.safetensors"
    weights.save_safetensors(variables, path)
    options = ("width=2", "norm=group")
    file = WeightsFile(
        weights=path, model="resnet8", model_options=options, weights_normalization="torchvision"
    )
    network = weights_files.load_weights(file, 7, (8, 8, 3), own_channels=True)
    for ours, theirs in zip(*map(jax.tree.leaves, (network.variables, variables)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(ValueError, match=r"(?s)another network.*7.*-> .*1000"):
        weights_files.load_weights(file, 1000, (8, 8, 3), own_channels=True)


# Recommendation ------------------------------------------------------------------------------


def test_squeezenets_head_alone_can_do_without_its_relu():
    stages = dict(models.create("squeezenet", 2, head_activation="identity").stages)
    kinds = {name: stage.activation for name, stage in stages.items()}
    assert kinds.pop("head") == "identity" and set(kinds.values()) == {"relu"}
    assert dict(models.create("squeezenet", 2).stages)["head"].activation == "relu"


def similarity(early, late, fresh):
    return Similarity({"stem": early, "stage1": late}, {"stem": 0.5, "stage1": fresh}, 200, 5)


@pytest.mark.parametrize(
    ("images", "actual", "recipe", "why"),
    [
        (200, similarity(0.7, 0.9, 0.6), "linear", "few .*are similar"),
        (20000, similarity(0.7, 0.9, 0.6), "top", "many .*are similar"),
        (200, similarity(0.7, 0.7, 0.6), "top", "are different.*an earlier stage, which is no"),
        (20000, similarity(0.7, 0.7, 0.6), "all", "are different"),
        (200, similarity(0.95, 0.85, 0.6), "top", "stem does better, 95.0 %"),
        (200, similarity(0.91, 0.9, 0.6), "linear", "similar"),  # within the standard error
        (20000, similarity(0.5, 0.6, 0.6), "all", "no better than fresh"),
        (200, similarity(0.5, 0.5, 0.6), "top", "no better than fresh"),
    ],
)
def test_the_recommendation_follows_the_table_and_says_why(images, actual, recipe, why):
    got = recommend(images, 2, actual)
    assert got.recipe == recipe
    key = tuple(
        group[words]
        for group, words in zip(
            (AMOUNTS, SIMILARITIES),
            (images > 1000, "are different" in got.reason),
            strict=True,
        )
    )
    assert got.lecture == LECTURE[key]
    assert got.recipe == got.lecture or (got.lecture, got.recipe) == ("early", "top")
    assert re.search(why, got.reason)
    assert f"{images / 2:.0f} images a class" in got.reason


def test_errors_spared_are_those_of_a_fresh_network():
    assert similarity(0.5, 0.9, 0.6).avoided_errors == pytest.approx(0.75)
    assert similarity(0.5, 0.5, 0.6).avoided_errors == pytest.approx(-0.25)
    assert similarity(0.5, 1.0, 1.0).avoided_errors == 1.0


def test_cross_validation_is_scikit_learns():
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20).astype(np.int32)
    features = generator.normal(size=(60, 9)) + 1.5 * np.eye(9)[labels]
    features[:, 8] = 1.0  # a constant one
    wanted = [
        cross_val_score(
            make_pipeline(StandardScaler(), RidgeClassifier(alpha=penalty)),
            features,
            labels,
            cv=StratifiedKFold(5, shuffle=True, random_state=1),
        ).mean()
        for penalty in recommendation._PENALTIES
    ]
    got = recommendation.cross_validation_accuracy(features, labels, 3, 5, seed=1)
    # There, deviations are those of each fold.
    assert got == pytest.approx(max(wanted), abs=0.034) and got > 0.5


def test_a_figure_needs_a_seed_of_each_recipe():
    with pytest.raises(ValueError, match="one or more recipes"):
        figures.recipes({}, chance=0.5)
    with pytest.raises(ValueError, match=r"one or more recipes, got .*\(0,\)"):
        figures.recipes({"linear": []}, chance=0.5)
