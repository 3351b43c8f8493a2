"""Networks whose weights are in a file."""

import jax
import numpy as np
import pytest

from cnnlab import models
from cnnlab.models import weights
from cnnlab.studies import weights_files
from cnnlab.studies.settings import WeightsFile

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
    prepare = weights_files.load_weights(config, 4, (8, 8, 3)).recipe.prepare
    out = prepare(jax.random.key(0), np.full((1, 1, 1, 3), 200, np.uint8))
    np.testing.assert_allclose(out[0, 0, 0], [77, 83, 96], rtol=1e-6)


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
        networks = weights_files.load_weights(WeightsFile(**settings), 4, (8, 8, 3))
        assert networks.statistics.mean == (123.0, 117.0, 104.0) and networks.config is None
        return
    with pytest.raises(ValueError, match=message):
        weights_files.load_weights(WeightsFile(**settings), 4, (8, 8, 3))


def test_a_file_with_another_head_says_how_many_classes_it_has(file):
    config = WeightsFile(weights=file, model="resnet8", model_options=OPTIONS)
    with pytest.raises(ValueError, match=r"file has 4 classes, not 7: --weights-classes 4"):
        weights_files.load_weights(config, 7, (8, 8, 3), classes_option="--weights-classes")
