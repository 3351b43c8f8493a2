"""The README as a reader types it: its Python runs from top to bottom, its commands are known."""

import importlib
import pathlib
import re
import shlex

import pytest

from cnnlab.models import registry
from experiments import cli, train

README = (pathlib.Path(__file__).resolve().parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the run that ``make`` leaves, trained for less long."""
    folder = tmp_path_factory.mktemp("readme")
    directory = folder / "runs/digits-resnet8-1"
    train.run(train.Config(seeds=2, epochs=1, run_dir=directory, quiet=True))
    return folder


def test_the_python_blocks_run_one_after_the_other(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(registry, "_MAKERS", dict(registry._MAKERS))
    blocks = [text for language, text in BLOCKS if language == "python"]
    assert len(blocks) > 5 and "…" not in "".join(blocks)
    names = {"__name__": "readme"}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["together"].shape == (360, 10)
    assert names["shown"].shape == (1, 10)
    assert names["arrays"].train.class_names == ("cat", "dog")


def commands():
    """The command lines of the shell blocks, without comments, continued lines joined."""
    text = "".join(text for language, text in BLOCKS if language == "bash")
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_is_one_that_there_is(words, place, monkeypatch):
    monkeypatch.chdir(place)
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
