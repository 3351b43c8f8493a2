"""The command line: what is done before jax is imported, options, messages, the list of all."""

import json
import os
import pathlib
import subprocess
import sys

import PIL.Image
import pytest

from cnnlab import limits
from cnnlab.train.recorder import Interrupted
from experiments import cli

NAMES = sorted(path.parent.name for path in cli.FOLDER.glob("*/__main__.py"))


@pytest.mark.parametrize(("platform", "processes", "devices"), [("cpu", 1, 8), ("gpu", 2, 8)])
def test_devices_of_one_process_or_of_accelerators_are_taken(platform, processes, devices):
    cli.check_devices(platform, processes, devices)


def test_several_cpu_devices_in_each_of_several_processes_are_refused():
    with pytest.raises(ValueError, match="one device each, this one has 4.*start more processes"):
        cli.check_devices("cpu", 2, 4)
    cli.check_devices("cpu", 4, 1)


def test_an_option_is_found_on_a_command_line():
    assert cli.option_value(["--a", "1", "--resume", "x"], "--resume") == "x"
    assert cli.option_value(["--resume=y"], "--resume") == "y"
    assert cli.option_value(["--resumed", "x"], "--resume") is None


@pytest.mark.parametrize(
    ("variable", "module", "attribute"),
    [
        ("CNNLAB_UNPACKED_BYTES", limits, "unpacked_bytes"),
        ("CNNLAB_ARRAYS", limits, "arrays"),
        ("CNNLAB_IMAGE_PIXELS", PIL.Image, "MAX_IMAGE_PIXELS"),
    ],
)
def test_limits_are_raised_by_the_environment(monkeypatch, variable, module, attribute):
    before = getattr(module, attribute)
    monkeypatch.setattr(module, attribute, before)  # put back afterwards
    cli.prepare()
    assert getattr(module, attribute) == before
    monkeypatch.setenv(variable, "123456789012")
    cli.prepare()
    assert getattr(module, attribute) == 123456789012
    monkeypatch.setenv(variable, "2 GB")
    with pytest.raises(SystemExit, match=f"error: {variable} must be a whole number, got '2 GB'"):
        cli.prepare()


def test_a_flag_that_this_jaxlib_does_not_know_is_not_set(monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "_CPU_FLAG", "--xla_no_such_flag=1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path))
    cli.prepare()
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=false"


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_no_experiment_imports_jax_before_it_runs():
    modules = ", ".join(f"experiments.{name}" for name in NAMES)
    assert python(f"import sys, {modules}; print('jax' in sys.modules)") == "False"


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_is_a_folder_with_config_run_and_help(name):
    package = __import__(f"experiments.{name}", fromlist=["Config"])
    assert callable(package.run) and package.__doc__.startswith(package.__doc__.strip()[:10])
    with pytest.raises(SystemExit) as stopped:
        cli.parse(package.Config, ["--help"], package.__doc__, name)
    assert stopped.value.code == 0
    assert f"python -m experiments.{name}" in package.__doc__


def test_only_folders_and_the_command_line_stand_at_the_top():
    files = sorted(path.name for path in cli.FOLDER.glob("*.py"))
    assert files == ["__init__.py", "cli.py"]
    assert all((cli.FOLDER / name / "experiment.py").is_file() for name in NAMES)


def test_importing_cnnlab_imports_no_part_of_it():
    code = "import sys, cnnlab; print([m for m in sys.modules if m.startswith(('jax', 'cnnlab.'))])"
    assert python(code) == "[]"


def test_the_door_lists_every_experiment_once_in_a_line(capsys):
    cli.door([])
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines if line.startswith("  ")]
    assert sorted(listed) == NAMES
    (train,) = (line for line in lines if line.startswith("  train "))
    assert train.endswith("report what it does on the test part.")


def test_the_door_names_the_nearest_experiment():
    with pytest.raises(SystemExit, match="unknown experiment 'trian'. Did you mean 'train'"):
        cli.door(["trian"])


def test_the_door_lists_runs(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(json.dumps({"experiment": "train"}))
    cli.door(["runs", str(tmp_path)])
    assert "mine  train" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="error: there is no folder"):
        cli.door(["runs", str(tmp_path / "nowhere")])


def test_what_was_refused_is_one_message_and_a_bug_keeps_its_trace():
    with pytest.raises(SystemExit, match="error: several processes"), cli.exit_with_message("x"):
        cli.check_devices("cpu", 2, 4)
    with pytest.raises(ZeroDivisionError), cli.exit_with_message("x"):
        _ = 1 / 0


def test_an_interrupted_run_says_how_to_go_on(capsys):
    with pytest.raises(SystemExit) as stopped, cli.exit_with_message("experiments.train"):
        raise Interrupted(pathlib.Path("runs/x"), 7, 15)
    assert stopped.value.code == 128 + 15
    assert "Go on with:  python -m experiments.train --resume runs/x" in capsys.readouterr().err
