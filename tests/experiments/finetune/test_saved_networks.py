"""Networks that fine-tuning saves: every reader of finished runs reads them."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from cnnlab import models
from cnnlab.data.dataset import Statistics
from cnnlab.keys import run_key
from cnnlab.models import weights
from cnnlab.run_directory import ResumeError, read_config, write_config
from cnnlab.studies import fine_tuning, provenance, trained, weights_files
from cnnlab.studies.build import load_data, make_recipe
from cnnlab.studies.run_data import HISTORY
from cnnlab.studies.settings import WeightsFile, to_json
from cnnlab.studies.study import Study, Trained
from cnnlab.studies.trained import TrainedNetworks
from cnnlab.train import evaluate
from cnnlab.train.state import state_shapes
from experiments import finetune
from experiments.finetune import source

TINY = finetune.Config(
    dataset="synthetic:160:4x4x1:4",
    model="mlp",
    model_options=("widths=(8,6)",),
    source_classes=("0", "1"),
    source_epochs=4,
    per_class=12,
    epochs=3,
    batch_size=12,
    seeds=2,
    quiet=True,
)


def noise(shapes, seed=0):
    """Values in the place of shapes: nothing is compiled."""
    generator = np.random.default_rng(seed)
    return jax.tree.map(lambda s: (0.5 * generator.normal(size=s.shape)).astype(s.dtype), shapes)


def made(study, name, recipe, train, validation=None, *, config, options=None):
    """In the place of a training: noise, in the moving average other noise."""
    state = state_shapes(recipe, train.image_shape)
    each = [noise(state, seed) for seed in config.all_seeds]
    states = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    return Trained(states._replace(step=np.full(len(each), 6, np.int32)), {}, 6, 3.0)


@pytest.fixture
def without_training(monkeypatch):
    monkeypatch.setattr(Study, "train", made)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run without trainings: a recipe after a cache, one by rules without, one from scratch."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    config = dataclasses.replace(
        TINY,
        recipes=("linear", "rules", "scratch"),
        rules=("stage1/.*=0.1", "(stage2|head)/.*=1"),
        ema_decay=0.9,
        run_dir=directory,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "train", made)
        finetune.run(config)
    return directory


def read(directory):
    networks = trained.load_run(directory)
    return networks.config, networks.splits, networks


@pytest.mark.parametrize("name", ["linear", "rules", "scratch"])
def test_whole_networks_are_read_back_as_good_as_they_were(run_dir, name):
    directory = run_dir / "networks" / name
    trained.check_finished(directory)
    _, splits, networks = read(directory)
    recipe, states = networks.recipe, networks.states
    assert (
        recipe.rates is None
        and networks.step == 6
        and splits.train.class_names == ("class2", "class3")
    )
    results = [json.loads((each / "result.json").read_text()) for each in (run_dir, directory)]
    wanted = results[0]["recipes"][name]
    actual = evaluate(recipe, states, splits.test)["accuracy"]
    assert actual.tolist() == wanted["test_accuracy"]["values"]
    assert results[1]["test"]["accuracy"] == wanted["test_accuracy"]
    assert (results[1]["part_of"], results[1]["recipe"]) == ("run", name)


def test_loading_the_study_itself_names_where_its_networks_are(run_dir):
    with pytest.raises(ResumeError, match=r"holds no networks itself: give one of .*networks/lin"):
        trained.run_config(run_dir)


def test_images_are_normalised_as_those_of_the_trained_network(run_dir):
    source = dataclasses.replace(
        trained.run_config(run_dir / "networks" / "linear"), classes=("0", "1"), per_class=None
    )
    theirs, ours = (
        load_data(c).train.statistics
        for c in (source, trained.run_config(run_dir / "networks" / "linear"))
    )
    assert theirs.mean != ours.mean
    for name, wanted in (("linear", theirs), ("rules", theirs), ("scratch", ours)):
        directory = run_dir / "networks" / name
        config, splits, networks = read(directory)
        kept = networks.statistics
        assert kept == wanted
        np.testing.assert_array_equal(kept.mean_image, wanted.mean_image)
        images = splits.test.images[:3]
        given = dataclasses.replace(splits.train, statistics=wanted)
        np.testing.assert_array_equal(
            networks.recipe.prepare(run_key(0), images),
            make_recipe(config, given).prepare(run_key(0), images),
        )


def test_one_begins_from_them_again(run_dir):
    directory = run_dir / "networks" / "linear"
    test = load_data(trained.run_config(directory)).test
    first, second = (
        provenance.load_unseen_run(directory, test, member=member) for member in (0, 1)
    )
    bodies = [each.variables["params"]["stage2"]["dense"]["kernel"] for each in (first, second)]
    np.testing.assert_array_equal(*bodies)
    heads = [each.variables["params"]["head"]["dense"]["kernel"] for each in (first, second)]
    assert not np.array_equal(*heads)
    splits = load_data(trained.run_config(directory))
    assert first.statistics == trained.load_data(directory).train.statistics
    assert first.statistics != splits.train.statistics and first.normalization == "channel"


def test_a_file_of_one_of_them_has_the_whole_network(run_dir, tmp_path):
    path = tmp_path / "w.safetensors"
    _, splits, networks = read(run_dir / "networks" / "linear")
    weights.save_safetensors(networks.member(0).variables, path)
    shapes = state_shapes(networks.recipe, splits.train.image_shape)
    variables, _ = weights.load(path, {"params": shapes.params})
    for ours, theirs in zip(
        *map(jax.tree.leaves, (variables["params"], networks.states.average.params)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs[0])


def test_data_of_earlier_trainings_are_refused_as_a_test_part(run_dir, capsys):
    config = trained.run_config(run_dir / "networks" / "linear")
    source = load_data(dataclasses.replace(config, classes=("0", "1"), per_class=None))
    directory = run_dir / "networks" / "linear"
    provenance.check_history_unseen(directory, source.test, print)
    with pytest.raises(ValueError, match="linear began with, of synthetic.*, 0, 1, must not have"):
        provenance.check_history_unseen(directory, source.train, print)
    provenance.check_history_unseen(run_dir / "networks" / "scratch", source.train, print)
    assert not capsys.readouterr().out
    # Each training after the other, also of networks that were tuned twice.
    before = provenance.training_history(directory)
    assert [tuple(each.config["classes"]) for each in before] == [("class2", "class3"), ("0", "1")]


def test_data_of_earlier_trainings_need_not_be_there(run_dir, tmp_path):
    """What they trained on is known by the record, wherever the files are now."""
    own = run_dir / "networks" / "linear"
    config = trained.run_config(own)
    source = load_data(dataclasses.replace(config, classes=("0", "1"), per_class=None))
    gone = dataclasses.replace(config, dataset="npz", data_dir=tmp_path / "x")
    files = {name: (own / name).read_bytes() for name in ("data.npz", "data-before-1.npz")}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    write_config(tmp_path, {**read_config(own), HISTORY: [to_json(gone)]}, files)
    (tmp_path / "checkpoints").mkdir()
    provenance.check_history_unseen(tmp_path, source.test, pytest.fail)
    with pytest.raises(ValueError, match="began with, of npz.* must not have trained"):
        provenance.check_history_unseen(tmp_path, source.train, pytest.fail)


def test_a_resume_writes_nothing_twice_and_completes_the_files(
    run_dir, without_training, monkeypatch
):
    folder = run_dir / "networks"

    def written():
        return {
            path: path.stat().st_mtime_ns
            for path in sorted(folder.rglob("*"))
            if path.is_file() and "linear" not in path.parts
        }

    linear, before = read(folder / "linear"), written()
    (folder / "linear" / "result.json").unlink()
    unscored = fine_tuning.Tuned("", None, None, 3.0, np.zeros(2), None)
    monkeypatch.setattr(
        fine_tuning,
        "_score",
        lambda name, recipe, states, *_: unscored._replace(name=name, recipe=recipe, states=states),
    )
    finetune.run(finetune.Config(resume=run_dir))
    assert written() == before
    trained.check_finished(folder / "linear")
    again = read(folder / "linear")
    for ours, theirs in zip(
        *map(jax.tree.leaves, (again[2].states, linear[2].states)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert again[2].statistics.mean != load_data(again[0]).train.statistics.mean
    with pytest.raises(ResumeError, match="is a part of the experiment"):
        finetune.run(finetune.Config(resume=folder / "linear"))


# Weight files and mean images ----------------------------------------------------------------


@pytest.mark.parametrize("normalization", ["torchvision", "caffe", "unit"])
def test_foreign_normalisations_are_ones_of_ours(tmp_path, normalization):
    network = models.create("mlp", 5, widths=(3,))
    variables = noise(jax.eval_shape(network.init, jax.random.key(0), np.zeros((1, 4, 4, 3))))
    path = tmp_path / "mlp.safetensors"
    weights.save_safetensors(variables, path)
    file = WeightsFile(
        weights=path,
        model="mlp",
        model_options=("widths=(3,)",),
        weights_normalization=normalization,
    )
    network = weights_files.load_weights(file, 5, (4, 4, 3), own_channels=True)
    config = dataclasses.replace(TINY, dataset="synthetic:160:4x4x3:4", source_classes=())
    train = load_data(config).train
    own, seen = source.with_normalization(config, network, train)
    images = train.images[:5]
    np.testing.assert_array_equal(
        make_recipe(own, seen).prepare(run_key(0), images),
        network.recipe.prepare(run_key(0), images),
    )
    assert network.report.loaded == 4


def test_a_mean_image_of_another_shape_is_refused():
    train = load_data(TINY).train
    statistics = Statistics((100.0,), (50.0,), np.zeros((5, 5, 1), np.float32))
    network = TrainedNetworks(None, None, "it", "mlp", (), (4, 4, 1), "mean-image", statistics)
    with pytest.raises(ValueError, match=r"it subtracts its mean image, of shape \(5, 5, 1\)"):
        source.with_normalization(TINY, network, train)
    channel = dataclasses.replace(network, normalization="channel")
    _, seen = source.with_normalization(TINY, channel, train)
    assert seen.statistics is statistics


# Rules and what starts afresh ----------------------------------------------------------------


def test_fresh_parameters_are_reported_and_differ_from_seed_to_seed(
    tmp_path, without_training, capsys
):
    config = dataclasses.replace(
        TINY,
        recipes=("all",),
        reinitialise=("stage2", "head"),
        run_dir=tmp_path / "run",
        quiet=False,
    )
    result = finetune.run(config)
    afresh = ("head/dense/bias", "head/dense/kernel", "stage2/dense/bias", "stage2/dense/kernel")
    _, splits, networks = read(tmp_path / "run" / "networks" / "all")
    actual = evaluate(networks.recipe, networks.states, splits.test)["accuracy"]
    assert actual.tolist() == result["recipes"]["all"]["test_accuracy"]["values"]
    assert result["surgery"] == {"copied": 2, "fresh": afresh, "left": (), "adapted": None}
    out = capsys.readouterr().out
    assert out.count("copied 2 of 6 arrays") == 1 and "fresh: head/dense/bias" in out
    assert f"python -m experiments.evaluate {tmp_path / 'run' / 'networks' / 'all'}" in out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipes": ("rules",)}, "needs a rate for every parameter, --rules PATTERN=FACTOR"),
        ({"rules": ("head/.*=1",)}, "--rules are for the recipe rules"),
        ({"recipes": ("rules",), "rules": ("head/.*",)}, "PATTERN=FACTOR.*got 'head/.*'"),
        ({"recipes": ("rules",), "rules": ("head/.*=one",)}, "a number >= 0"),
        ({"recipes": ("rules",), "rules": ("=1",)}, "PATTERN=FACTOR"),
        ({"recipes": ("rules",), "rules": (".*=-1",)}, "factor must be >= 0"),
        ({"recipes": ("rules",), "rules": ("head/.*=1",)}, "none matches.*stage1"),
        ({"recipes": ("rules",), "rules": (".*=1", "head/.*=1")}, "several match.*head"),
        (
            {"recipes": ("rules",), "rules": ("stage.*=1", "head/.*=0")},
            "must learn, but rules freezes head/dense/bias, head/dense/kernel",
        ),
        (
            {"recipes": ("linear",), "reinitialise": ("stage2", "head")},
            "must learn, but linear freezes stage2/dense/bias.*stage2, head shall start afresh",
        ),
        ({"recipes": ("all",), "reinitialise": ("stag2", "head")}, "Did you mean 'stage2'"),
        ({"recipes": ("all",), "reinitialise": ("stage2/(",)}, "regular expressions"),
    ],
)
def test_rules_that_cannot_be_are_refused_before_anything_is_written(tmp_path, change, message):
    config = dataclasses.replace(TINY, runs=tmp_path / "runs", **change)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        finetune.run(config)
    assert not (tmp_path / "runs").exists()
