"""What fine-tuning leaves behind: networks that every reader of finished runs reads."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from cnnlab import models
from cnnlab.data.dataset import Statistics
from cnnlab.keys import run_key
from cnnlab.models import weights
from cnnlab.train import evaluate
from cnnlab.train.run import ResumeError
from cnnlab.train.state import state_shapes
from experiments import export, finetune, finetune_study, finetuning, finished, handing_on, origins
from experiments.config import load_data, make_recipe, plain
from experiments.finetune_recipes import Details, parsed_rules, rates_of
from experiments.parts import Part

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


def made(config, whole, name, recipe, train, validation=None, **settings):
    """In the place of a training: noise, in the moving average other noise."""
    state = state_shapes(recipe, train.image_shape)
    each = [noise(state, seed) for seed in config.all_seeds]
    states = jax.tree.map(lambda *leaves: np.stack(leaves), *each)
    return Part(states._replace(step=np.full(len(each), 6, np.int32)), {}, 6, 3.0)


@pytest.fixture
def without_training(monkeypatch):
    for module in (finetune_study, finetuning):
        monkeypatch.setattr(module, "train_part", made)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run without trainings: a recipe behind a cache, one by rules without, one from scratch."""
    directory = tmp_path_factory.mktemp("runs") / "run"
    config = dataclasses.replace(
        TINY,
        recipe=("linear", "rules", "scratch"),
        rates=("stage1/.*=0.1", "(stage2|head)/.*=1"),
        ema_decay=0.9,
        run_dir=directory,
    )
    with pytest.MonkeyPatch.context() as patch:
        for module in (finetune_study, finetuning):
            patch.setattr(module, "train_part", made)
        finetune.run(config)
    return directory


def read(directory):
    config = finished.config_of(directory)
    splits = load_data(config)
    return config, splits, finished.networks_of(directory, config, splits.train)


@pytest.mark.parametrize("name", ["linear", "rules", "scratch"])
def test_whole_networks_are_read_back_as_good_as_they_were(run_dir, name):
    directory = run_dir / "networks" / name
    finished.check_finished(directory)
    _, splits, (recipe, states, step) = read(directory)
    assert recipe.rates is None and step == 6 and splits.train.class_names == ("class2", "class3")
    results = [json.loads((each / "result.json").read_text()) for each in (run_dir, directory)]
    wanted = results[0]["recipes"][name]
    found = evaluate(recipe, states, splits.test)["accuracy"]
    assert found.tolist() == wanted["test_accuracy"]["values"]
    assert results[1]["test"]["accuracy"] == wanted["test_accuracy"]
    assert (results[1]["part_of"], results[1]["recipe"]) == ("run", name)


def test_a_reader_of_the_whole_is_told_where_the_networks_are(run_dir):
    with pytest.raises(ResumeError, match=r"holds no networks itself: give one of .*networks/lin"):
        finished.config_of(run_dir)


def test_images_are_normalised_as_those_of_the_trained_network(run_dir):
    source = dataclasses.replace(
        finished.config_of(run_dir / "networks" / "linear"), classes=("0", "1"), per_class=None
    )
    theirs, ours = (
        load_data(c).train.statistics
        for c in (source, finished.config_of(run_dir / "networks" / "linear"))
    )
    assert theirs.mean != ours.mean
    for name, wanted in (("linear", theirs), ("rules", theirs), ("scratch", ours)):
        directory = run_dir / "networks" / name
        config, splits, networks = read(directory)
        kept = finished.as_shown(directory, splits.train).statistics
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
    test = load_data(finished.config_of(directory)).test
    first, second = (origins.of_run(directory, test=test, member=member) for member in (0, 1))
    bodies = [each.variables["params"]["stage2"]["dense"]["kernel"] for each in (first, second)]
    np.testing.assert_array_equal(*bodies)
    heads = [each.variables["params"]["head"]["dense"]["kernel"] for each in (first, second)]
    assert not np.array_equal(*heads)
    splits = load_data(finished.config_of(directory))
    assert first.statistics == finished.as_shown(directory, splits.train).statistics
    assert first.statistics != splits.train.statistics and first.normalization == "channel"


def test_a_file_of_one_of_them_has_the_whole_network(run_dir, tmp_path):
    path = export.run(export.Config(run_dir / "networks" / "linear", tmp_path / "w.safetensors"))
    _, splits, networks = read(run_dir / "networks" / "linear")
    shapes = state_shapes(networks.recipe, splits.train.image_shape)
    variables, _ = weights.load(path, {"params": shapes.params})
    for ours, theirs in zip(
        *map(jax.tree.leaves, (variables["params"], networks.states.average.params)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs[0])


def test_what_they_had_learned_from_before_is_refused_as_a_test_part(run_dir, capsys):
    config = finished.config_of(run_dir / "networks" / "linear")
    source = load_data(dataclasses.replace(config, classes=("0", "1"), per_class=None))
    directory = run_dir / "networks" / "linear"
    handing_on.check_unseen_before(directory, source.test, print)
    with pytest.raises(ValueError, match="linear began with, of synthetic.*, 0, 1, must not have"):
        handing_on.check_unseen_before(directory, source.train, print)
    handing_on.check_unseen_before(run_dir / "networks" / "scratch", source.train, print)
    assert not capsys.readouterr().out
    # Each training after the other, also of networks that were tuned twice.
    before = handing_on.trainings(directory)
    assert [tuple(each["classes"]) for each in before] == [("class2", "class3"), ("0", "1")]


def test_data_of_before_that_are_gone_are_told(run_dir, tmp_path):
    own = run_dir / "networks" / "linear"
    gone = dataclasses.replace(finished.config_of(own), dataset="npz", data_dir=tmp_path / "x")
    fields = json.loads((own / "config.json").read_text())
    fields[handing_on.BEFORE] = [plain(gone)]
    (tmp_path / "config.json").write_text(json.dumps(fields))
    (tmp_path / "checkpoints").mkdir()
    said = []
    handing_on.check_unseen_before(tmp_path, load_data(finished.config_of(own)).test, said.append)
    assert len(said) == 1 and "had seen the test part in npz" in said[0]


def test_a_resume_writes_nothing_twice_and_ends_what_was_begun(
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
    for name in ("result.json", "statistics.npz"):
        (folder / "linear" / name).unlink()
    unjudged = finetuning.Tuned("", None, None, 3.0, np.zeros(2), None, None, 0.0, "")
    monkeypatch.setattr(
        finetuning,
        "_judged",
        lambda name, recipe, states, *_: unjudged._replace(name=name, recipe=recipe, states=states),
    )
    finetune.run(finetune.Config(resume=run_dir))
    assert written() == before
    finished.check_finished(folder / "linear")
    again = read(folder / "linear")
    for ours, theirs in zip(
        *map(jax.tree.leaves, (again[2].states, linear[2].states)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert finished.as_shown(folder / "linear", again[1].train).statistics.mean != (
        again[1].train.statistics.mean
    )
    with pytest.raises(ResumeError, match="is a part of the experiment"):
        finetune.run(finetune.Config(resume=folder / "linear"))


# Foreign weights, mean images ----------------------------------------------------------------


@pytest.mark.parametrize("normalization", ["torchvision", "caffe", "unit"])
def test_foreign_normalisations_are_ones_of_ours(tmp_path, normalization):
    network = models.create("mlp", 5, widths=(3,))
    variables = noise(jax.eval_shape(network.init, jax.random.key(0), np.zeros((1, 4, 4, 3))))
    path = tmp_path / "mlp.safetensors"
    weights.save_safetensors(variables, path)
    origin = origins.of_weights(
        path,
        "mlp",
        ("widths=(3,)",),
        image_shape=(4, 4, 3),
        num_classes=5,
        normalization=normalization,
    )
    config = dataclasses.replace(TINY, dataset="synthetic:160:4x4x3:4", source_classes=())
    train = load_data(config).train
    own, seen = finetune_study.shown(config, origin, train)
    images = train.images[:5]
    np.testing.assert_array_equal(
        make_recipe(own, seen).prepare(run_key(0), images), origin.prepare(run_key(0), images)
    )
    assert origin.loaded.loaded == 4


def test_statistics_come_back_with_their_mean_image(tmp_path):
    train = load_data(TINY).train
    image = np.linspace(0, 255, 16, dtype=np.float32).reshape(4, 4, 1)
    statistics = Statistics((1 / 3,), (0.1,), image, 7)
    assert finished.as_shown(tmp_path, train) is train
    finished.write_statistics(tmp_path, statistics)
    found = finished.as_shown(tmp_path, train).statistics
    assert found == statistics and found.examples == 7
    np.testing.assert_array_equal(found.mean_image, image)


def test_a_mean_image_of_another_shape_is_refused():
    train = load_data(TINY).train
    statistics = Statistics((100.0,), (50.0,), np.zeros((5, 5, 1), np.float32))
    origin = origins.Origin(None, {}, "it", None, "mlp", (), 1, "mean-image", statistics)
    with pytest.raises(ValueError, match=r"it subtracts its mean image, of shape \(5, 5, 1\)"):
        finetune_study.shown(TINY, origin, train)
    channel = origin._replace(normalization="channel")
    _, seen = finetune_study.shown(TINY, channel, train)
    assert seen.statistics is statistics


# Rules and what starts afresh ----------------------------------------------------------------


def test_what_starts_afresh_is_said_and_differs_from_seed_to_seed(
    tmp_path, without_training, capsys
):
    config = dataclasses.replace(
        TINY,
        recipe=("all",),
        reinitialise=("stage2", "head"),
        run_dir=tmp_path / "run",
        quiet=False,
    )
    result = finetune.run(config)
    afresh = ("head/dense/bias", "head/dense/kernel", "stage2/dense/bias", "stage2/dense/kernel")
    _, splits, (recipe, states, _) = read(tmp_path / "run" / "networks" / "all")
    found = evaluate(recipe, states, splits.test)["accuracy"]
    assert found.tolist() == result["recipes"]["all"]["test_accuracy"]["values"]
    assert result["surgery"] == {"copied": 2, "fresh": afresh, "left": (), "adapted": None}
    out = capsys.readouterr().out
    assert out.count("copied 2 of 6 arrays") == 1 and "fresh: head/dense/bias" in out
    assert f"python -m experiments.evaluate {tmp_path / 'run' / 'networks' / 'all'}" in out


def test_rules_are_read_from_the_last_equals_sign():
    assert parsed_rules(["stem/.*=0", "(?=stage)stage1/.*=1e-1"]) == (
        ("stem/.*", 0.0),
        ("(?=stage)stage1/.*", 0.1),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": ("rules",)}, "needs a rate for every parameter, --rates PATTERN=FACTOR"),
        ({"rates": ("head/.*=1",)}, "--rates are for the recipe rules"),
        ({"recipe": ("rules",), "rates": ("head/.*",)}, "PATTERN=FACTOR.*got 'head/.*'"),
        ({"recipe": ("rules",), "rates": ("head/.*=one",)}, "a number >= 0"),
        ({"recipe": ("rules",), "rates": ("=1",)}, "PATTERN=FACTOR"),
        ({"recipe": ("rules",), "rates": (".*=-1",)}, "factor must be >= 0"),
        ({"recipe": ("rules",), "rates": ("head/.*=1",)}, "none matches.*stage1"),
        ({"recipe": ("rules",), "rates": (".*=1", "head/.*=1")}, "several match.*head"),
        (
            {"recipe": ("rules",), "rates": ("stage.*=1", "head/.*=0")},
            "must learn, but rules freezes head/dense/bias, head/dense/kernel",
        ),
        (
            {"recipe": ("linear",), "reinitialise": ("stage2", "head")},
            "must learn, but linear freezes stage2/dense/bias.*stage2, head shall start afresh",
        ),
        ({"recipe": ("all",), "reinitialise": ("stag2", "head")}, "Did you mean 'stage2'"),
        ({"recipe": ("all",), "reinitialise": ("stage2/(",)}, "regular expressions"),
    ],
)
def test_rules_that_cannot_be_are_refused_before_anything_is_written(tmp_path, change, message):
    config = dataclasses.replace(TINY, runs=tmp_path / "runs", **change)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        finetune.run(config)
    assert not (tmp_path / "runs").exists()


def test_gradual_unfreezing_would_freeze_a_body_that_starts_afresh():
    network = models.create("mlp", 3, widths=(4, 4))
    params = jax.eval_shape(network.init, jax.random.key(0), np.zeros((1, 4, 4, 1)))["params"]
    details = Details(reinitialise=("stage2/.*", "head"))
    with pytest.raises(ValueError, match="gradual freezes stage2/dense/bias, stage2/dense/kernel"):
        rates_of("gradual", network, params, details)
    assert len(rates_of("layerwise", network, params, details)) == 1
