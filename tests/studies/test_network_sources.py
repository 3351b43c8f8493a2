"""Runs of a network that a Python file makes: kept with the run, and compared when it is read."""

import dataclasses
import shutil

import numpy as np
import pytest

from cnnlab.run_directory import ResumeError
from cnnlab.studies import trained, weights_files
from cnnlab.studies.resume import stored_config
from cnnlab.studies.settings import Training, WeightsFile
from experiments import export, train

NET = """
import flax.linen as nn
from layer import Layer

class Mine(nn.Module):
    num_classes: int
    width: int = 6

    @nn.compact
    def __call__(self, x, train=False):
        x = Layer(self.width)(x, train).mean((1, 2))
        return nn.Dense(self.num_classes)(nn.Dropout(0.1, deterministic=not train)(x))
"""

LAYER = """
import flax.linen as nn

class Layer(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(self.width, (3, 3))(x)
        return nn.relu(nn.BatchNorm(use_running_average=not train)(x))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the files and a run of two networks, and its result."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "net.py").write_text(NET)
    (folder / "layer.py").write_text(LAYER)
    config = train.Config(
        dataset="synthetic:60:6x6x1:3",
        model=f"{folder}/net.py:Mine",
        model_options=("width=4",),
        epochs=2,
        batch_size=20,
        seeds=2,
        run_dir=folder / "run",
        quiet=True,
    )
    result = train.run(config)
    export.run(export.Config(folder / "run", folder / "out.safetensors"))
    return folder, result


@pytest.fixture
def files(made):
    """The folder, whose files are put back after the test."""
    folder, _ = made
    yield folder
    (folder / "net.py").write_text(NET)
    (folder / "layer.py").write_text(LAYER)


def test_a_run_keeps_its_files_and_is_named_without_their_folder(made):
    folder, result = made
    kept = folder / "run/network_source"
    assert {path.name: path.read_text() for path in kept.iterdir()} == {
        "net.py": NET,
        "layer.py": LAYER,
    }
    assert result["model"] == "net.py:Mine"
    assert result["config"]["model"] == f"{folder}/net.py:Mine"


def test_it_is_loaded_and_resumed_from_anywhere(made, monkeypatch, tmp_path):
    folder, result = made
    monkeypatch.chdir(tmp_path)
    networks = trained.load_run(folder / "run")
    probabilities = networks.predict(networks.splits.test.images[:])
    right = probabilities.argmax(1) == networks.splits.test.labels
    assert networks.members == 2 and networks.network.names == ("network",)
    assert 0 < right.mean() <= 1
    shutil.copytree(folder / "run", tmp_path / "run")
    again = train.run(train.Config(resume=tmp_path / "run", quiet=True))
    assert again["test"] == result["test"]


def test_a_name_becomes_absolute(made, monkeypatch):
    folder, _ = made
    monkeypatch.chdir(folder)
    stored = stored_config(train.Config, folder / "run")
    assert stored.model == f"{folder}/net.py:Mine"
    with pytest.raises(ResumeError, match="model was .*net.py:Mine.*is now .*net.py:Other"):
        train.run(train.Config(resume=folder / "run", model="net.py:Other", quiet=True))
    train.run(train.Config(resume=folder / "run", model="net.py:Mine", quiet=True))


@pytest.mark.parametrize("name", ["net.py", "layer.py"])
@pytest.mark.parametrize("change", ["changed", "gone"])
def test_other_code_under_old_weights_is_refused(files, name, change):
    path = files / name
    if change == "gone":
        path.unlink()
    else:
        path.write_text(path.read_text().replace("relu", "gelu").replace("0.1", "0.2"))
    message = rf"{name}.*(is not what it was|no such file).*Bring back.*network_source"
    for use in (
        lambda: trained.load(files / "run"),
        lambda: trained.load_run(files / "run"),
        lambda: train.run(train.Config(resume=files / "run", quiet=True)),
    ):
        with pytest.raises(ResumeError, match=message):
            use()


def test_an_exported_file_runs_code_only_where_it_is_named_and_is_the_same(files):
    weights = files / "out.safetensors"
    shape = (6, 6, 1)
    named = WeightsFile(weights=weights, model=f"{files}/net.py:Mine")
    loaded = weights_files.load_weights(named, None, shape)
    own = trained.load(files / "run").member(0)
    images = np.random.default_rng(0).integers(0, 256, (5, *shape), dtype=np.uint8)
    np.testing.assert_allclose(loaded.predict(images), own.predict(images), rtol=1e-6)
    with pytest.raises(ValueError, match=r"is made by net.py:Mine.*--model PATH/net.py:Mine"):
        weights_files.load_weights(dataclasses.replace(named, model=None), None, shape)
    (files / "layer.py").write_text(LAYER.replace("relu", "gelu"))
    with pytest.raises(ValueError, match="was made by other code than is in"):
        weights_files.load_weights(named, None, shape)


def test_the_computation_in_bfloat16_needs_an_option(files):
    config = train.Config(dataset="synthetic", model=f"{files}/net.py:Mine", precision="bfloat16")
    with pytest.raises(ValueError, match=r"option dtype, and .*net.py:Mine has none"):
        train.run(config)


def test_names_for_titles():
    assert Training(model="/a/net.py:make").model_name == "net.py:make"
    assert Training().model_name == "resnet8"
