"""Averages of a finished run's checkpoints and soups of runs, from the command's side."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from cnnlab.models import weights
from cnnlab.run_directory import read_config, write_config
from cnnlab.studies.build import load_data, make_recipe
from cnnlab.studies.file_description import describe
from cnnlab.studies.run_data import read_record
from cnnlab.studies.settings import WeightsFile
from cnnlab.studies.weights_files import load_weights
from cnnlab.train import evaluate
from cnnlab.train.checkpoint import CheckpointError
from cnnlab.train.run import Run
from experiments import average, cli, train
from experiments.average import candidates, experiment
from experiments.average.candidates import Skipped, read_configs

STEPS = (5, 10, 15, 20)


@pytest.fixture(scope="module", autouse=True)
def compiled_once():
    """Programs belong to a recipe: calls for runs of the same settings share one here."""
    recipes = {}

    def make_once(run, config):
        key = repr(dataclasses.replace(config, run_dir=None))
        return recipes.setdefault(key, make_recipe(config, read_record(run).without_images().train))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "run_recipe", make_once)
        patch.setattr(experiment, "run_recipe", make_once)
        patch.setattr("experiments.train.experiment._draw", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def config(tiny_config):
    return dataclasses.replace(
        tiny_config,
        model_options=("widths=(8,)", "norm=batch"),
        normalization="unit",
        validation=18,  # as many as the test part has: one program for both
        batch_size=14,
        crop=0,
        epochs=4,
        keep_every=1,
    )


@pytest.fixture(scope="module")
def kept(tmp_path_factory, config):
    """A run of two seeds with batch normalisation and the checkpoints of all its epochs."""
    directory = tmp_path_factory.mktemp("kept") / "run"
    train.run(dataclasses.replace(config, run_dir=directory))
    return directory


@pytest.fixture(scope="module")
def averaged(kept):
    """The result of averaging its last three checkpoints."""
    return average.run(average.Config((kept,), last=3))


@pytest.fixture(scope="module")
def params_at(kept, config):
    data = load_data(config).train
    recipe = make_recipe(config, data)

    def load(step):
        with Run.read(kept) as opened:
            return opened.load(recipe, data.image_shape, members=2, step=step)[1].params

    return {step: load(step) for step in STEPS}


def saved(directory, name, seed):
    return weights.read(directory / f"average-{name}-seed{seed}.safetensors")


def holds_the_mean(directory, name, params):
    wanted = jax.tree.map(lambda *leaves: np.mean(np.asarray(leaves, np.float64), axis=0), *params)
    for seed in range(2):
        file = saved(directory, name, seed)
        for path, leaf in jax.tree_util.tree_leaves_with_path(wanted):
            each = "/".join(["params", *(key.key for key in path)])
            np.testing.assert_allclose(file[each], leaf[seed], rtol=1e-6, atol=1e-7)


def steps_of(result):
    return [each["step"] for each in result["candidates"]]


def test_the_files_hold_the_mean_of_each_seed_s_checkpoints(kept, averaged, params_at):
    assert steps_of(averaged) == list(STEPS[1:])
    assert averaged["weights"] == [f"average-last-3-seed{seed}.safetensors" for seed in range(2)]
    holds_the_mean(kept, "last-3", [params_at[step] for step in STEPS[1:]])
    written = json.loads((kept / "average-last-3.json").read_text())
    assert written["averaged"] == averaged["averaged"] and written["chosen"] == [[0, 1, 2]] * 2
    assert len(averaged["averaged"]["test"]["nll"]["values"]) == 2


def test_networks_of_the_files_have_the_same_scores(kept, averaged, config):
    file = WeightsFile(
        weights=kept / averaged["weights"][1],
        model="mlp",
        model_options=config.model_options,
        weights_normalization="unit",
    )
    networks = load_weights(file, 3, (6, 6, 1))
    again = evaluate(networks.recipe, networks.states, load_data(config).test)
    test = averaged["recalibrated"]["test"]
    assert again["accuracy"][0] == test["accuracy"]["values"][1]
    assert again["loss"][0] == pytest.approx(test["nll"]["values"][1], rel=1e-5)


def test_statistics_are_taken_anew_unless_left(kept, averaged, capsys):
    left = average.run(average.Config((kept,), from_epoch=2, recalibrate=False))
    assert steps_of(left) == steps_of(averaged)
    assert left["recalibrated"] is None and left["averaged"] == averaged["averaged"]
    printed = capsys.readouterr().out
    for text in ("step 10", "step 20", "average ", "validation accuracy", "±"):
        assert text in printed
    name, kernel = "batch_stats/stage1/norm/mean", "params/stage1/dense/kernel"
    anew, old = saved(kept, "last-3", 0), saved(kept, "from-epoch-2-as-averaged", 0)
    np.testing.assert_array_equal(anew[kernel], old[kernel])
    assert not np.allclose(anew[name], old[name], rtol=1e-3)


def test_a_greedy_soup_is_no_worse_on_validation_than_its_best_candidate(kept):
    result = average.run(average.Config((kept,), how="greedy"))
    soup = result["recalibrated"]["validation"]["accuracy"]["values"]
    for seed in range(2):
        alone = [each["validation"]["accuracy"]["values"][seed] for each in result["candidates"]]
        assert soup[seed] >= max(alone)
        tries = result["tries"][seed]
        assert [each["candidate"] for each in tries if each["kept"]] == result["chosen"][seed]
        assert tries[0]["alone"] == pytest.approx(max(alone))
    assert (kept / "average-greedy-all.json").is_file()


def test_runs_make_a_soup_for_each_seed(kept, params_at, tmp_path, capsys):
    """The second run is the first one as it was an epoch earlier."""
    earlier = shutil.copytree(kept, tmp_path / "earlier")
    shutil.rmtree(earlier / "checkpoints" / "20")
    runs = (kept, tmp_path / "none", earlier)
    with pytest.raises(CheckpointError, match="no run in .*none.*--missing skip"):
        average.run(average.Config(runs))
    result = average.run(average.Config(runs, missing="skip", name="two"))
    assert "different weights" not in capsys.readouterr().out
    assert result["runs"] == ["run", "earlier"] and steps_of(result) == [20, 15]
    assert len(result["skipped"]) == 1 and "none" in result["skipped"][0]
    holds_the_mean(kept, "two", [params_at[20], params_at[15]])


def test_runs_of_other_networks_make_no_soup(kept, tmp_path):
    about = read_config(kept)
    write_config(tmp_path, {**about, "model": "lenet5"})
    with pytest.raises(ValueError, match="model is 'mlp' in .*, and 'lenet5' in .*Leave one out"):
        average.run(average.Config((kept, tmp_path)))


def test_a_run_and_its_copy_make_no_soup(kept, tmp_path):
    copy = shutil.copytree(kept, tmp_path / "copy")
    with pytest.raises(ValueError, match=r"copy is a copy of the run .*Leave one out"):
        average.run(average.Config((kept, copy)))


def test_runs_that_normalise_images_otherwise_make_no_soup(kept, tmp_path):
    record = read_record(kept)
    brighter = dataclasses.replace(
        record.statistics, mean=tuple(mean + 9 for mean in record.statistics.mean)
    )
    config = {**read_config(kept), "normalization": "channel"}
    for name, statistics in (("a", record.statistics), ("b", brighter)):
        data = dataclasses.replace(record, statistics=statistics).write()
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.npz").write_bytes(data)
        write_config(tmp_path / name, config, files={"data.npz": data})
    both = average.Config((tmp_path / "a", tmp_path / "b"))
    with pytest.raises(ValueError, match=r"normalise images alike, but .*b does by .*Leave one"):
        read_configs(both, Skipped(both, print))


def test_the_files_know_what_every_run_began_with(kept, tmp_path, monkeypatch):
    """Of a soup of networks that were fine-tuned from different sources."""
    record = read_record(kept)
    before = {kept: (record,), tmp_path / "b": (record, dataclasses.replace(record, name="other"))}
    shutil.copytree(kept, tmp_path / "b")
    shutil.rmtree(tmp_path / "b" / "checkpoints" / "20")
    monkeypatch.setattr(experiment, "read_earlier_records", before.__getitem__)
    average.run(average.Config((kept, tmp_path / "b"), name="history"))
    known = describe(kept / "average-history-seed0.safetensors")
    assert [each.name for each in known.records] == ["synthetic", "synthetic", "other"]


def test_runs_from_different_weights_are_noted(kept, tmp_path, capsys):
    about = read_config(kept)
    for field, other in (("seed", 5), ("init", "he"), ("epochs", 9)):
        write_config(tmp_path, {**about, field: other})
        shutil.copy(kept / "data.npz", tmp_path)
        both = average.Config((kept, tmp_path))
        read_configs(both, Skipped(both, print))
    seed, init = capsys.readouterr().out.splitlines()
    assert "began from different weights" in seed and seed.endswith("Their seed: 0, 5.")
    assert init.endswith("Their init: default, he.")


def test_what_is_missing_or_damaged_is_named_and_passed_over_on_request(kept, tmp_path, capsys):
    copy = shutil.copytree(kept, tmp_path / "copy")
    shutil.rmtree(copy / "checkpoints" / "10")
    for file in (copy / "checkpoints" / "15" / "tree").rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    for settings, message in (
        ({"steps": (5, 10)}, "checkpoint of step 10; the run has steps 5, 15, 20.*--missing skip"),
        ({"last": 4}, "1 of the last 4 checkpoints; .*--keep 10 or --keep-every 1"),
        ({"from_epoch": 2}, "the checkpoint of step 10;"),
        ({"steps": (20, 15)}, "tried step 15.*--missing skip"),
    ):
        with pytest.raises(CheckpointError, match=message):
            average.run(average.Config((copy,), **settings))
    result = average.run(average.Config((copy,), steps=(5, 10, 15, 20), missing="skip"))
    assert steps_of(result) == [5, 20]
    assert ["step 10" in result["skipped"][0], "step 15" in result["skipped"][1]] == [True, True]
    assert capsys.readouterr().out.count("\npassed over: ") == 2
    with pytest.raises(CheckpointError, match="at least two checkpoints, found 1"):
        average.run(average.Config((copy,), steps=(5, 10), missing="skip"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"last": 1}, "at least 2"),
        ({"last": 2, "steps": (5, 10)}, "--last and --steps exclude each other"),
        ({"best": True}, "only with several runs"),
        ({"name": "a/b"}, "part of a file's name"),
        ({"run": ()}, "give the directory"),
        ({"run": ("a", "b"), "last": 2}, "--last: only with one run"),
        ({"run": ("a", "a/../a")}, "different ones"),
    ],
)
def test_invalid_settings_are_refused(settings, message, tmp_path):
    runs = tuple(tmp_path / name for name in settings.get("run", "a"))
    with pytest.raises(ValueError, match=message):
        average.run(average.Config(**{**settings, "run": runs}))


def test_the_command_line_takes_runs_and_steps(monkeypatch):
    monkeypatch.setattr(cli, "prepare", lambda: None)
    with pytest.raises(SystemExit, match="error: there is no run in none"):
        cli.main("experiments.average", ["none", "--steps", "1", "2"])
