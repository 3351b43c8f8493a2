"""Networks that a Python file makes."""

import sys

import pytest

from cnnlab import models
from cnnlab.source_file import load_maker, read_sources, sources_digest, split_file

NET = """
import json
import flax.linen as nn
from blocks.norm import scale

class Mine(nn.Module):
    num_classes: int
    def __call__(self, x):
        return x[:, 0, 0, : self.num_classes] * scale

def make(num_classes=10):
    return Mine(num_classes)
"""


def write(folder, scale):
    (folder / "blocks").mkdir(parents=True, exist_ok=True)
    (folder / "blocks/__init__.py").write_text("")
    (folder / "blocks/norm.py").write_text("from . import numbers\nscale = numbers.SCALE\n")
    (folder / "blocks/numbers.py").write_text(f"SCALE = {scale}\n")
    (folder / "other.py").write_text("raise RuntimeError")
    (folder / "net.py").write_text(NET)
    return folder / "net.py"


def test_a_name_is_split_at_its_last_colon():
    assert split_file("resnet8") is None and split_file("net.py") is None
    path, function = split_file("C:/my/net.py:make")
    assert (path.as_posix(), function) == ("C:/my/net.py", "make")


def test_a_file_is_what_it_says_and_what_it_imports_from_its_folder(tmp_path):
    path = write(tmp_path, 2)
    sources = read_sources(path)
    assert set(sources) == {
        *("net.py", "blocks/__init__.py", "blocks/norm.py", "blocks/numbers.py"),
    }
    assert next(iter(sources)) == "net.py"
    before = sources_digest(path)
    (tmp_path / "other.py").write_text("")
    assert sources_digest(path) == before
    (tmp_path / "blocks/numbers.py").write_text("SCALE = 3\n")
    assert sources_digest(path) != before


def test_neighbours_are_those_of_the_file_and_as_they_are_now(tmp_path):
    one, two = write(tmp_path / "one", 2), write(tmp_path / "two", 3)
    modules, path = set(sys.modules), list(sys.path)

    def scale(file):
        return load_maker(file, "make").__globals__["scale"]

    assert (scale(one), scale(two), scale(one)) == (2, 3, 2)
    assert load_maker(one, "make") is load_maker(one, "make")  # programs are found again
    write(tmp_path / "one", 7)  # of the same length, in the same second
    assert (scale(one), scale(two)) == (7, 3)
    assert sys.path == path
    assert {name.split(".")[0] for name in set(sys.modules) - modules} & {"blocks", "net"} == set()


def test_a_network_is_made_of_a_file(tmp_path):
    name = f"{write(tmp_path, 2)}:make"
    network = models.create(name, 4)
    assert network == models.create(name, 4) and network.names == ("network",)
    assert models.options(f"{tmp_path}/net.py:Mine") == {}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.py:make", "gone.py must be the Python file that makes the network.*no such file"),
        ("net.py:mke", "net.py: unknown function 'mke'. Did you mean 'make'"),
        ("net.py", "which function of .*net.py makes the network.*net.py:FUNCTION"),
        ("broken.py:make", "broken.py is no Python that runs here"),
        ("none.py:make", r"none.py:make must be called as maker\(num_classes.*nothing"),
    ],
)
def test_what_makes_no_network_is_refused_in_a_line(tmp_path, name, message):
    write(tmp_path, 2)
    (tmp_path / "broken.py").write_text("def make(:")
    (tmp_path / "none.py").write_text("def make(): pass")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        models.create(f"{tmp_path}/{name}", 3)
