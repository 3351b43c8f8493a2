"""The train and evaluate experiments, from Python and from the command line."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.kill_and_resume import kill_and_resume
from cnnlab.train.run import ResumeError
from experiments import evaluate, launch, resuming, snapshot, train
from experiments.config import from_plain, plain


def test_a_run_leaves_all_that_it_should(finished):
    directory, result = finished
    # Evaluations of the same run, which other tests share, leave files of their own.
    others = ("evaluate-", "features-")
    left = {path.name for path in directory.iterdir() if not path.name.startswith(others)}
    assert left == {
        "checkpoints",
        "config.json",
        "environment.json",
        "figures",
        "metrics.jsonl",
        "result.json",
        "tensorboard",
    }
    assert (directory / "figures/curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((directory / "result.json").read_text())["test"] == result["test"]
    accuracy = result["test"]["accuracy"]
    assert len(accuracy["values"]) == 2
    assert accuracy["mean"] == pytest.approx(np.mean(accuracy["values"]))
    expected = np.std(accuracy["values"], ddof=1) / np.sqrt(2)
    assert accuracy["standard_error"] == pytest.approx(expected)


def test_evaluation_agrees_with_the_training_and_with_scikit_learn(finished, capsys):
    directory, result = finished
    found = evaluate.run(evaluate.Config(directory))
    for name in ("accuracy", "loss"):
        wanted = result["test"][name]["values"]
        np.testing.assert_allclose(found[name]["values"], wanted, rtol=1e-5)
    assert "calibration error" in capsys.readouterr().out
    by_class = np.mean([figure["mean"] for figure in found["per_class"].values()])
    assert by_class == pytest.approx(found["accuracy"]["mean"], abs=0.15)
    for path in found["figures"]:
        assert pathlib.Path(path).read_bytes().startswith(b"\x89PNG")
    best = evaluate.run(evaluate.Config(directory, part="validation", best=True))
    assert best["step"] == result["best_step"] and best["part"] == "validation"


def test_evaluation_on_other_data_must_fit(finished, tmp_path):
    images = np.zeros((20, 5, 5, 1), np.uint8)
    np.savez(tmp_path / "other.npz", images=images, labels=np.arange(20) % 3)
    with pytest.raises(ValueError, match=r"shape \(6, 6, 1\).*\(5, 5, 1\)"):
        evaluate.run(evaluate.Config(finished[0], dataset="npz", data_dir=tmp_path / "other.npz"))


def test_a_config_survives_json(tiny_config):
    config = dataclasses.replace(tiny_config, classes=("0", "2"), clip=1.5, run_dir="x")
    stored = json.loads(json.dumps(plain(config)))
    back = from_plain(train.Config, stored)
    assert plain(back) == plain(config) and back.milestones == (0.5, 0.75)


def test_a_config_of_before_a_field_was_there_has_its_default(tiny_config):
    fields = {name: value for name, value in plain(tiny_config).items() if "init" not in name}
    assert from_plain(train.Config, fields) == tiny_config


def test_a_resume_needs_nothing_but_the_directory(finished, tiny_config):
    config = resuming.resumed(train.Config(resume=finished[0]))
    assert dataclasses.replace(config, resume=None, run_dir=None) == tiny_config
    assert train.run(train.Config(resume=finished[0]))["step"] == finished[1]["step"]


def test_a_resume_with_another_setting_names_the_field(finished):
    with pytest.raises(ResumeError, match="epochs was 2, and is now 7"):
        resuming.resumed(train.Config(resume=finished[0], epochs=7))
    with pytest.raises(ResumeError, match=r"learning_rate was 0\.1, and is now 0\.3"):
        resuming.parse(
            train.Config(), ["--resume", str(finished[0]), "--learning-rate", "0.3"], None
        )
    # From the command line a default counts, too, where it was given.
    with pytest.raises(ResumeError, match="epochs was 2, and is now 40"):
        resuming.parse(train.Config(), [f"--resume={finished[0]}", "--epochs", "40"], None)
    assert resuming.parse(train.Config(), ["--resume", str(finished[0])], None).epochs == 2


def test_a_run_of_another_experiment_is_not_resumed_but_named(finished):
    message = "one of experiments.train, and cannot go on as one of experiments.snapshot"
    with pytest.raises(ResumeError, match=message):
        resuming.parse(snapshot.Config(), ["--resume", str(finished[0])], None)
    with pytest.raises(ResumeError, match=message):
        resuming.resumed(snapshot.Config(resume=finished[0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "resent8"}, "Did you mean 'resnet8'"),
        ({"model_options": ("width",)}, "NAME=VALUE"),
        ({"model_options": ("width=3",)}, "Known: widths"),
        ({"dataset": "digist"}, "Did you mean 'digits'"),
        ({"batch_size": 5000}, "at most"),
        ({"validation": 0}, "None leaves it out"),
        ({"seeds": 0}, "at least 1"),
        ({"warmup_epochs": 2.0}, "warm-up"),
        ({"ema_decay": 1.5}, "ema_decay"),
        ({"model_options": ("norm=bach",)}, "unknown norm 'bach'.*'batch'"),
        ({"model_options": ("activation=rleu",)}, "unknown activation 'rleu'.*'relu'"),
        ({"init": "lsvu"}, "unknown initialisation 'lsvu'.*'lsuv'"),
        ({"init": "fixup"}, "needs residual blocks"),
        ({"init": "lsuv", "init_options": ("examples=500",)}, "looks at 500 images"),
        ({"model": "vgg11", "model_options": ()}, "too small: stage"),
        ({"model": "unet", "model_options": ("depth=1", "width=1")}, "It is no classifier"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(
    tmp_path, tiny_config, change, message
):
    config = dataclasses.replace(tiny_config, runs=tmp_path / "runs", **change)
    with pytest.raises(ValueError, match=message):
        train.run(config)
    assert not (tmp_path / "runs").exists()


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "experiments.train", *arguments], capture_output=True, text=True
    )


def test_the_command_line_says_what_is_wrong_in_one_message(tmp_path):
    done = command("--dataset", "digist", "--runs", str(tmp_path))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: unknown data set 'digist'. Did you mean 'digits'?")


def test_help_and_a_misspelt_option():
    done = command("--help")
    assert done.returncode == 0 and "--learning-rate" in done.stdout
    done = command("--learning-rat", "1")
    assert done.returncode == 2 and "--learning-rate" in done.stdout + done.stderr


def test_help_imports_no_jax():
    code = "import sys, experiments.train, experiments.evaluate; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_importing_cnnlab_imports_no_part_of_it():
    code = "import sys, cnnlab; print([m for m in sys.modules if m.startswith(('jax', 'cnnlab.'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_option_is_found_on_a_command_line():
    assert launch.option_value(["--a", "1", "--resume", "x"], "--resume") == "x"
    assert launch.option_value(["--resume=y"], "--resume") == "y"
    assert launch.option_value(["--resumed", "x"], "--resume") is None


def test_a_flag_that_this_jaxlib_does_not_know_is_not_set(monkeypatch, tmp_path):
    monkeypatch.setattr(launch, "_CPU_FLAG", "--xla_no_such_flag=1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path))
    launch.prepare()
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=false"


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_kills_and_resumes_end_in_the_same_bits(tmp_path, kills):
    options = (
        "--dataset synthetic:200:6x6x1:3 --model mlp --epochs 5 --batch-size 20 --quiet "
        "--ema-decay 0.99 --steps-per-call 1 --checkpoint-steps 5 --seeds 2"
    ).split()
    assert len(kill_and_resume(options, kills, tmp_path)) == kills
