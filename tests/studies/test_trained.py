"""Trained networks: of a run, of a file, one of several."""

import dataclasses

import jax
import numpy as np
import pytest

from cnnlab import models
from cnnlab.models import weights
from cnnlab.run_directory import ResumeError
from cnnlab.studies import trained
from cnnlab.studies.settings import WeightsFile
from cnnlab.train import evaluate

OPTIONS = ("width=2", "norm=group")


@pytest.fixture(scope="module")
def file(tmp_path_factory, quick_jit):
    network = models.create("resnet8", 4, width=2, norm="group")
    start, zeros = models.init.create("he"), np.zeros((1, 8, 8, 3), np.float32)
    variables = quick_jit(lambda key: start(network, key, zeros))(jax.random.key(3))
    path = tmp_path_factory.mktemp("weights") / "resnet8.safetensors"
    weights.save_safetensors(variables, path)
    return path


def test_caffes_pixels_are_only_centred(file):
    config = WeightsFile(
        weights=file, model="resnet8", model_options=OPTIONS, normalization="caffe"
    )
    prepare = trained.load_weights(config, 4, (8, 8, 3)).recipe.prepare
    out = prepare(jax.random.key(0), np.full((1, 1, 1, 3), 200, np.uint8))
    np.testing.assert_allclose(out[0, 0, 0], [77, 83, 96], rtol=1e-6)


def test_a_run_is_loaded_with_all_that_is_known_of_it(finished):
    directory, result = finished
    networks = trained.load_run(directory)
    scores = evaluate(networks.recipe, networks.states, networks.splits.test)
    np.testing.assert_allclose(scores["accuracy"], result["test"]["accuracy"]["values"])
    assert (networks.members, networks.seeds, networks.step) == (2, (0, 1), result["step"])
    assert networks.name == "mlp of run" and networks.image_shape == (6, 6, 1)
    assert networks.class_names == networks.splits.train.class_names
    assert networks.statistics == networks.splits.train.statistics


def test_one_of_several_networks_is_chosen_by_its_number(finished):
    networks = trained.load_run(finished[0])
    with pytest.raises(ValueError, match="are 2 networks: choose one"):
        _ = networks.variables
    second = networks.member(1)
    kernel = second.variables["params"]["head"]["dense"]["kernel"]
    np.testing.assert_array_equal(kernel, networks.states.params["head"]["dense"]["kernel"][1])
    assert second.name == "mlp of run, seed 1" and second.seeds == (1,)
    with pytest.raises(ValueError, match="members 0 to 1, got 2"):
        networks.member(2)


def test_a_run_s_own_statistics_are_those_it_was_given(finished, tmp_path):
    train = trained.load_run(finished[0]).splits.train
    assert trained.with_run_statistics(tmp_path, train) is train
    other = dataclasses.replace(train.statistics, mean=(3.0,), std=(2.0,))
    trained.write_statistics(tmp_path, other)
    assert trained.with_run_statistics(tmp_path, train).statistics == other


def test_unfinished_runs_are_refused(tmp_path, finished):
    with pytest.raises(ResumeError, match="there is no run"):
        trained.load_run(tmp_path)
    (tmp_path / "config.json").write_text('{"experiment": "probe"}')
    with pytest.raises(ResumeError, match=r"one of experiments\.probe and holds no networks"):
        trained.load_run(tmp_path)
    with pytest.raises(ResumeError, match="must be finished"):
        trained.check_finished(tmp_path)
    trained.check_finished(finished[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "--weights needs --model"),
        ({"model": "resnet20"}, "another network"),
        ({"normalization": "caffe"}, None),
    ],
)
def test_a_file_must_be_of_the_network(file, change, message):
    settings = {"weights": file, "model": "resnet8", "model_options": OPTIONS, **change}
    if message is None:
        networks = trained.load_weights(WeightsFile(**settings), 4, (8, 8, 3))
        assert networks.statistics.mean == (123.0, 117.0, 104.0) and networks.config is None
        return
    with pytest.raises(ValueError, match=message):
        trained.load_weights(WeightsFile(**settings), 4, (8, 8, 3))


def test_a_file_with_another_head_says_how_many_classes_it_has(file):
    config = WeightsFile(weights=file, model="resnet8", model_options=OPTIONS)
    with pytest.raises(ValueError, match=r"file has 4 classes, not 7: --weights-classes 4"):
        trained.load_weights(config, 7, (8, 8, 3), classes_option="--weights-classes")
