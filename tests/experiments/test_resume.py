"""Settings of a run that goes on."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from cnnlab.run_directory import EPOCHS, ResumeError, read_config
from cnnlab.studies import resume, trained
from cnnlab.train.run import Run
from experiments import snapshot, train
from experiments.cli import parse


def parse_train(arguments):
    return parse(train.Config, arguments, None, "train")


def test_a_resume_needs_nothing_but_the_directory(finished, tiny_config):
    config = resume.resumed_config(train.Config(resume=finished[0]))
    assert dataclasses.replace(config, resume=None, run_dir=None) == tiny_config


def test_a_resume_with_another_setting_names_the_field(finished):
    with pytest.raises(ResumeError, match="epochs was 2, and is now 7"):
        resume.resumed_config(train.Config(resume=finished[0], epochs=7))
    with pytest.raises(ResumeError, match=r"learning_rate was 0\.1, and is now 0\.3"):
        parse_train(["--resume", str(finished[0]), "--learning-rate", "0.3"])
    # From the command line a default counts, too, where it was given.
    with pytest.raises(ResumeError, match="epochs was 2, and is now 40"):
        parse_train([f"--resume={finished[0]}", "--epochs", "40"])
    assert parse_train(["--resume", str(finished[0])]).epochs == 2


def test_a_run_of_another_experiment_is_not_resumed_but_named(finished):
    message = "one of experiments.train, and cannot go on as one of experiments.snapshot"
    with pytest.raises(ResumeError, match=message):
        parse(snapshot.Config, ["--resume", str(finished[0])], None, "snapshot")
    with pytest.raises(ResumeError, match=message):
        resume.resumed_config(snapshot.Config(resume=finished[0]))


def checkpoints(directory):
    """Every checkpoint of a run by its step: the leaves of its networks."""
    steps = [int(path.name) for path in (directory / "checkpoints").iterdir() if path.is_dir()]
    run = trained.load_run(directory)
    leaves = {}
    for step in steps:
        with Run.read(directory) as opened:
            shape = run.splits.train.image_shape
            states = opened.load(run.recipe, shape, members=2, step=step)[1]
        leaves[step] = [np.asarray(leaf) for leaf in jax.tree.leaves(states)]
    return leaves


def test_a_run_with_more_epochs_is_to_the_bit_one_that_had_them_from_the_start(
    tmp_path, tiny_config
):
    longer = dataclasses.replace(
        tiny_config, schedule="constant", epochs=5, keep_every=2, ema_decay=0.9, crop=1
    )
    wanted = train.run(dataclasses.replace(longer, run_dir=tmp_path / "whole"))
    shorter = dataclasses.replace(longer, epochs=3, run_dir=tmp_path / "run")
    first = train.run(shorter)
    config = parse_train(["--resume", str(tmp_path / "run"), "--epochs", "5", "--quiet"])
    result = train.run(config)

    records = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("whole", "run")]
    assert records[0] == records[1] and records[0].count("\n") == 5
    before, after = checkpoints(tmp_path / "whole"), checkpoints(tmp_path / "run")
    # Those of epochs 2 and 4 are kept; the best and the latest two are the same ones.
    assert before.keys() == after.keys() and {10, 20, 25} <= before.keys()
    for step, leaves in before.items():
        for ours, theirs in zip(after[step], leaves, strict=True):
            np.testing.assert_array_equal(ours, theirs, strict=True)
    assert all(result[key] == wanted[key] for key in ("test", "step", "best_step"))
    assert result["config"]["epochs"] == 5
    # The first result is still there; the run now has the longer budget, also without a word.
    kept = json.loads((tmp_path / "run" / "result-3-epochs.json").read_text())
    assert kept["test"] == first["test"]
    assert read_config(tmp_path / "run")["epochs"] == 5
    assert train.run(train.Config(resume=tmp_path / "run"))["test"] == wanted["test"]


@pytest.mark.parametrize(
    ("settings", "epochs", "why"),
    [
        ({"schedule": "cosine"}, 3, "cosine is over all epochs.*it is possible with constant"),
        ({"schedule": "step"}, 3, "step is over all epochs"),
        ({"schedule": "swa"}, 3, "swa is over all epochs"),
        ({"schedule": "constant"}, 1, "there can only be more"),
        ({"schedule": "constant", "epochs": 1}, 3, "the warm-up was 0.5 epochs.*it is 1"),
        ({"schedule": "constant", "learning_rate": 0.3}, 3, "learning_rate was 0.3"),
    ],
)
def test_a_run_that_would_have_been_another_one_is_not_given_more_epochs(
    tiny_config, settings, epochs, why
):
    stored = dataclasses.replace(tiny_config, **settings)
    config = dataclasses.replace(stored, epochs=epochs, learning_rate=0.1, resume="run")
    with pytest.raises(ResumeError, match=why):
        resume.check_agreement(config, stored)


def test_only_one_training_is_given_more_epochs():
    stored = snapshot.Config(schedule="constant", epochs=10)
    config = dataclasses.replace(stored, epochs=20, resume="run")
    with pytest.raises(ResumeError, match="only a run of experiments.train"):
        resume.check_agreement(config, stored)


@pytest.mark.parametrize("text", ["{", '{"run": "another", "epochs": 9}'])
def test_epochs_that_are_damaged_or_of_another_run_are_refused(tmp_path, finished, text):
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "config.json").write_bytes((finished[0] / "config.json").read_bytes())
    (directory / EPOCHS).write_text(text)
    with pytest.raises(ResumeError, match=r"epochs.json, how many epochs .* is damaged"):
        read_config(directory)


# The settings of another run -----------------------------------------------------------------


def test_a_new_run_has_the_settings_of_another_one_but_for_its_place(finished, tiny_config):
    files = [finished[0], finished[0] / "config.json", finished[0] / "result.json"]
    for file in files:
        config = parse_train(["--config", str(file)])
        assert dataclasses.replace(config, quiet=True) == tiny_config
    config = parse_train([f"--config={files[1]}", "--epochs", "7", "--runs", "elsewhere"])
    assert (config.epochs, str(config.runs)) == (7, "elsewhere")
    assert config.model == "mlp" and config.run_dir is None and config.seeds == 2


def test_a_copy_of_a_config_may_be_edited(tmp_path, finished):
    fields = json.loads((finished[0] / "config.json").read_text())
    copy = tmp_path / "mine.json"
    copy.write_text(json.dumps({**fields, "learning_rate": 0.3}))
    assert parse_train(["--config", str(copy)]).learning_rate == 0.3
    for change, message in [
        ({"learning_rate": "fast"}, "mine.json: learning_rate must be float, got 'fast'"),
        ({"learnign_rate": 0.3}, "this version has no setting 'learnign_rate'"),
        ({"experiment": "snapshot"}, "got .*mine.json, of experiments.snapshot"),
    ]:
        copy.write_text(json.dumps({**fields, **change}))
        with pytest.raises(ValueError, match=message):
            parse_train(["--config", str(copy)])
    with pytest.raises(ValueError, match="has its own settings. Leave it out"):
        parse_train(["--config", str(copy), "--resume", str(finished[0])])
    with pytest.raises(FileNotFoundError):
        parse_train(["--config", str(tmp_path / "nothing.json")])
