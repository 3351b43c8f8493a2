"""The command line: what is done before jax is imported, options, messages, the list of all."""

import dataclasses
import importlib.metadata
import inspect
import json
import os
import pathlib
import re
import subprocess
import sys

import PIL.Image
import pytest

from cnnlab import limits
from cnnlab.processes import check_devices
from cnnlab.train.recorder import Interrupted
from experiments import cli
from experiments.options import field_texts, grouped_fields

NAMES = sorted(path.parent.name for path in cli.FOLDER.glob("*/__main__.py"))


@pytest.mark.parametrize(("platform", "processes", "devices"), [("cpu", 1, 8), ("gpu", 2, 8)])
def test_devices_of_one_process_or_of_accelerators_are_taken(platform, processes, devices):
    check_devices(platform, processes, devices)


def test_several_cpu_devices_in_each_of_several_processes_are_refused():
    with pytest.raises(ValueError, match="one device each, this one has 4.*start more processes"):
        check_devices("cpu", 2, 4)
    check_devices("cpu", 4, 1)


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
    assert files == ["__init__.py", "cli.py", "options.py"]
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


def test_the_door_shows_the_networks_of_the_zoo(capsys):
    cli.door(["models"])
    assert "  linear\n" in capsys.readouterr().out
    cli.door(["models", "linear", "mlp"])
    assert capsys.readouterr().out.count("parameters: ") == 2
    with pytest.raises(SystemExit, match="Did you mean 'resnet20'"):
        cli.door(["models", "resent20"])


def test_what_was_refused_is_one_message_and_a_bug_keeps_its_trace():
    with pytest.raises(SystemExit, match="error: several processes"), cli.exit_with_message("x"):
        check_devices("cpu", 2, 4)
    with pytest.raises(ZeroDivisionError), cli.exit_with_message("x"):
        _ = 1 / 0


def test_a_message_of_several_lines_is_one_line():
    library = compile(
        "raise ValueError('names:\\n' + 'n ' * 900 + '\\nLeave some out.')", cli.__file__, "exec"
    )
    with pytest.raises(SystemExit) as stopped, cli.exit_with_message("experiments.train"):
        exec(library)  # as if it was raised in this project
    message = str(stopped.value)
    assert message.startswith("error: names: n n") and message.endswith(" Leave some out.")
    assert "\n" not in message and len(message) < 1020


def test_an_interrupted_run_says_how_to_go_on(capsys):
    with pytest.raises(SystemExit) as stopped, cli.exit_with_message("experiments.train"):
        raise Interrupted(pathlib.Path("runs/x"), 7, 15)
    assert stopped.value.code == 128 + 15
    assert "Go on with:  python -m experiments.train --resume runs/x" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--lr", "learning-rate"),
        ("--wd", "weight-decay"),
        ("--batch", "batch-size"),
        ("--epoch=3", "epochs"),
        ("--learning_rat", "learning-rate"),
    ],
)
def test_a_misspelt_or_shortened_option_names_the_one_that_was_meant(capsys, given, meant):
    package = __import__("experiments.train", fromlist=["Config"])
    with pytest.raises(SystemExit) as stopped:
        cli.parse(package.Config, [given, "1"], "", "program")
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"unknown option {given.partition('=')[0].replace('_', '-')}." in line
    assert f"'--{meant}'" in line and line.endswith("All options: program --help")


def test_an_option_that_the_experiment_sets_itself_is_refused(capsys):
    package = __import__("experiments.depth", fromlist=["Config"])
    with pytest.raises(SystemExit):
        cli.parse(package.Config, ["--model", "mlp"], "", "program")
    assert "--model is not an option here" in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_the_help_has_the_experiments_own_options_first_and_keeps_its_lines(name, capsys):
    package = __import__(f"experiments.{name}", fromlist=["Config"])
    with pytest.raises(SystemExit):
        cli.parse(package.Config, ["--help"], package.__doc__, f"python -m experiments.{name}")
    text = capsys.readouterr().out
    assert f"usage: python -m experiments.{name} " in text
    lines = inspect.cleandoc(package.__doc__).splitlines()
    assert text.splitlines()[: len(lines)] == lines
    assert f"\n    python -m experiments.{name}" in text
    # A backslash at the end of a line of a docstring that is not raw joins it with the next.
    assert not re.search(r"python -m experiments.* {6,}-", text)
    boxes = re.findall(r"^\W+(\w[\w-]*) options\W*$", text, re.MULTILINE)
    groups = [group.replace("_", "-") for group in grouped_fields(package.Config)]
    shown = [group for group in groups if group in boxes]
    assert boxes == shown and boxes[0] == groups[0]


def test_every_setting_of_a_training_is_in_one_group():
    package = __import__("experiments.snapshot", fromlist=["Config"])
    groups = grouped_fields(package.Config)
    assert list(groups) == [
        *("snapshot", "data", "network", "training", "augmentation", "seeds", "run", "hosts")
    ]
    fields = [field for names in groups.values() for field in names]
    assert sorted(fields) == sorted(field.name for field in dataclasses.fields(package.Config))
    assert groups["network"] == ["model", "model_options", "init", "init_options", "precision"]
    assert "epochs" in groups["training"] and "cycles" in groups["snapshot"]


def test_a_field_without_a_text_of_its_own_has_that_of_every_training():
    package = __import__("experiments.ensemble", fromlist=["Config"])
    texts = field_texts(package.Config)
    assert texts["epochs"] == "Of a member." and texts["model"].startswith("Such as mlp")


@pytest.mark.parametrize(
    ("environment", "several"),
    [
        ({}, False),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}, False),
        ({"XLA_FLAGS": "--a=b --xla_force_host_platform_device_count=2"}, True),
        ({"JAX_NUM_CPU_DEVICES": "4"}, True),
        ({"JAX_NUM_CPU_DEVICES": "4", "JAX_PLATFORMS": "cuda"}, False),
        ({"JAX_NUM_CPU_DEVICES": "4", "JAX_PLATFORMS": "cuda,cpu"}, True),
    ],
)
def test_several_cpu_devices_are_recognised(environment, several):
    assert cli.several_cpu_devices(environment) == several


def test_several_cpu_devices_have_no_compilation_cache(tmp_path):
    """A program with collectives that comes from the cache hangs, even where the user set one."""
    code = (
        "import os; from experiments import cli; cli.prepare(); import jax; "
        "print(jax.config.jax_enable_compilation_cache)"
    )
    settings = {"CNNLAB_CACHE": str(tmp_path), "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own")}
    for count, enabled in (("1", "True"), ("2", "False")):
        flags = f"--xla_force_host_platform_device_count={count}"
        environment = {**os.environ, **settings, "XLA_FLAGS": flags}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        assert done.stdout.strip() == enabled


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    def no_home(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("CNNLAB_CACHE", raising=False)
    monkeypatch.setattr(pathlib.Path, "expanduser", no_home)
    assert cli.cache_folder() is None


def test_a_damaged_memory_of_the_flag_is_asked_again(tmp_path, monkeypatch):
    (tmp_path / f"flag-{importlib.metadata.version('jaxlib')}").write_bytes(b"\xff\0")
    monkeypatch.setattr(cli, "_CPU_FLAG", "--xla_no_such_flag=1")
    assert not cli._knows_flag(tmp_path)
    (memory,) = tmp_path.iterdir()
    assert memory.read_bytes() == b"unknown"


def test_an_error_of_the_file_system_is_a_message_wherever_it_was_raised(tmp_path):
    message = "error: .*No such file.*nothing"
    with pytest.raises(SystemExit, match=message), cli.exit_with_message("x"):
        (tmp_path / "nothing").read_bytes()


def test_ctrl_c_has_the_shells_exit_status_and_says_only_what_is_so(monkeypatch, capfd):
    monkeypatch.setattr(cli, "_opened", [])
    with pytest.raises(SystemExit) as stopped, cli.exit_with_message("experiments.train"):
        raise KeyboardInterrupt
    assert stopped.value.code == 130 and capfd.readouterr().err == "stopped by SIGINT.\n"


def test_an_end_by_another_process_has_an_exit_status_of_a_signal():
    with pytest.raises(SystemExit) as stopped, cli.exit_with_message("experiments.train"):
        raise Interrupted(pathlib.Path("runs/x"), 7, None)
    assert stopped.value.code == 128 + 15


@pytest.mark.parametrize("name", NAMES)
def test_every_help_can_be_printed_in_ascii_to_a_reader_that_goes(name):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "CNNLAB_CACHE": ""}
    command = [sys.executable, "-m", f"experiments.{name}", "--help"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


ALONE = """
import socket, types
from experiments import cli
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"
cli.join_processes(types.SimpleNamespace(
    coordinator=address, processes=2, process_id=PROCESS, join_timeout=1
))
"""


@pytest.mark.parametrize("process", [0, 1])
def test_a_process_whose_others_do_not_come_ends_in_a_sentence(process):
    program = [sys.executable, "-c", ALONE.replace("PROCESS", str(process))]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert f"process {process} has waited 1 s for the others" in last and "--join-timeout" in last
