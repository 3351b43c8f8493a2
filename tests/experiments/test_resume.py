"""Settings of a run that goes on."""

import dataclasses

import pytest

from cnnlab.run_directory import ResumeError
from cnnlab.studies import resume
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
