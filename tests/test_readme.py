"""The README as a reader types it: its Python runs from top to bottom, its commands are known."""

import importlib
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from cnnlab.run_directory import write_config
from cnnlab.studies.settings import to_json
from experiments import cli, train

README = (pathlib.Path(__file__).resolve().parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


PROGRAM = """
import pathlib, sys
from experiments import cli
cli.prepare()
from experiments import train
directory = pathlib.Path("runs/digits-resnet8-1")
# Of a network with the same stages that compiles in less time than the one of make.
train.run(train.Config(model="mlp", epochs=1, run_dir=directory, quiet=True))
names = {"__name__": "readme"}
for index, block in enumerate(sys.argv[1:]):
    exec(compile(block, f"block {index}", "exec"), names)
assert len(names["together"]) == len(names["splits"].test) and names["shown"].shape == (1, 10)
assert names["arrays"].train.class_names == ("cat", "dog")
"""


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    """A folder with the run that ``make`` leaves, trained for less long, and how the blocks ended.

    They run in a process of their own: the code that tests compile is too slow to train with.
    """
    folder = tmp_path_factory.mktemp("readme")
    root = str(pathlib.Path(__file__).resolve().parents[1])
    environment = {**os.environ, "XLA_FLAGS": "", "PYTHONPATH": root}
    (folder / "RUN").mkdir()  # as the commands call a run of the reader's
    config = {"experiment": "train", **to_json(train.Config(schedule="constant"))}
    write_config(folder / "RUN", config)
    blocks = [text for language, text in BLOCKS if language == "python"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *blocks],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    return folder, blocks, done


def test_the_python_blocks_run_one_after_the_other(typed):
    _, blocks, done = typed
    assert len(blocks) > 5 and "…" not in "".join(blocks)
    assert done.returncode == 0, done.stderr[-3000:]
    written = re.search(r"# (loaded \d+ of \d+)", "".join(blocks))
    assert written is not None and written[1] in done.stdout


def commands():
    """The command lines of the shell blocks, without comments, continued lines joined."""
    text = "".join(text for language, text in BLOCKS if language == "bash")
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_is_one_that_there_is(words, typed, monkeypatch):
    monkeypatch.chdir(typed[0])
    assert "…" not in words
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (cli.FOLDER.parent / "Makefile").read_text(), re.M)
        assert set(words[1:]) <= set(targets)
        return
    if words[0] == "cnnlab":
        words = ["python", "-m", f"experiments.{words[1]}", *words[2:]]
    python, option, package, *arguments = words
    assert (python, option) == ("python", "-m")
    module = importlib.import_module(package)
    if "--help" not in arguments:
        cli.parse(module.Config, arguments, module.__doc__, package)
