"""The train experiment, from Python and from the command line."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.kill_and_resume import kill_and_resume
from experiments import train


def test_a_run_leaves_all_that_it_should(finished):
    directory, result = finished
    # Evaluations of the same run, which other tests share, leave files of their own.
    others = ("evaluate-", "features-")
    left = {path.name for path in directory.iterdir() if not path.name.startswith(others)}
    assert left == {
        "checkpoints",
        "config.json",
        "data.npz",
        "environment.json",
        "figures",
        "lock",
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


def test_a_finished_run_that_is_resumed_has_the_same_result(finished):
    assert train.run(train.Config(resume=finished[0]))["step"] == finished[1]["step"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "resent8"}, "Did you mean 'resnet8'"),
        ({"model_options": ("width",)}, "NAME=VALUE"),
        ({"model_options": ("width=3",)}, "Known: widths"),
        ({"model_options": ("widths=banana",)}, "widths of model 'mlp' must be widths >= 1"),
        ({"init": "gaussian", "init_options": ("std=x",)}, "std must be a finite number"),
        ({"classes": ("0",)}, "there must be at least 2 classes, got only 'class0'"),
        ({"schedule": "step", "milestones": (1.0, 2.0)}, "fractions of the training .*, got 1 2"),
        ({"crop": 7}, "padding of crop must be no larger than the images, 6 x 6 pixels, got 7"),
        ({"cutout": 7}, "square of cutout must be no larger than the images, 6 x 6 pixels, got 7"),
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


@pytest.mark.parametrize("kills", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_kills_and_resumes_end_in_the_same_bits(tmp_path, kills):
    options = (
        "--dataset synthetic:200:6x6x1:3 --model mlp --epochs 5 --batch-size 20 --quiet "
        "--ema-decay 0.99 --steps-per-call 1 --checkpoint-steps 5 --seeds 2"
    ).split()
    assert len(kill_and_resume(options, kills, tmp_path)) == kills
