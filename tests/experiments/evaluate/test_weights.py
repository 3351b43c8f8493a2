"""Weights from elsewhere, evaluated on a data set."""

import hashlib

import jax
import numpy as np
import pytest

from cnnlab import data, models
from cnnlab.models import weights
from experiments import evaluate

DATASET = "synthetic:60:8x8x3:4"
OPTIONS = ("width=2", "norm=group")


@pytest.fixture(scope="session")
def network():
    return models.create("resnet8", 4, width=2, norm="group")


@pytest.fixture(scope="session")
def variables(network, quick_jit):
    start = models.init.create("he")
    images = np.zeros((1, 8, 8, 3), np.float32)
    return quick_jit(lambda key: start(network, key, images))(jax.random.key(3))


@pytest.fixture(scope="session")
def file(variables, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet8.safetensors"
    weights.save_safetensors(variables, path)
    return path


def normalised(pixels):
    """As torchvision's networks want it, written out."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return ((pixels / 255 - mean) / std).astype(np.float32)


def test_evaluation_of_weights_is_that_of_the_network(network, variables, file, tmp_path, capsys):
    actual = evaluate.run(
        evaluate.Config(
            weights=file,
            model="resnet8",
            model_options=OPTIONS,
            dataset=DATASET,
            runs=tmp_path,
        )
    )
    test = data.load(DATASET, validation=None).test
    logits = network.apply(variables, normalised(test.images))
    accuracy = (np.asarray(logits).argmax(-1) == test.labels).mean()
    assert actual["accuracy"]["mean"] == pytest.approx(accuracy)
    assert actual["examples"] == len(test) and actual["step"] is None
    assert actual["weights"] == file.name and actual["loaded"] == "23 of 23"
    assert actual["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert "loaded" in capsys.readouterr().out
    assert len(list(tmp_path.glob("evaluate-*-resnet8-1/figures/*.png"))) == 2


def test_a_run_takes_no_options_of_weights(finished):
    with pytest.raises(ValueError, match="--model, --normalization: only with --weights"):
        evaluate.run(evaluate.Config(finished[0], model="vgg16", normalization="caffe"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "--weights needs --model"),
        ({"model": "resnet20"}, "another network.*missing from the file"),
        ({"dataset": None}, "needs --dataset"),
        ({"dataset": "synthetic:60:8x8x1:4"}, "3 channels, these have 1.*unit"),
        ({"weights": None}, "a run directory or --weights"),
        ({"model_options": ("width",)}, "NAME=VALUE"),
        ({"best": True, "recalibrate": True}, "--best, --recalibrate: only with a run directory"),
    ],
)
def test_unfit_weights_are_named_in_the_error(file, tmp_path, change, message):
    settings = {"weights": file, "model": "resnet8", "model_options": OPTIONS, "dataset": DATASET}
    with pytest.raises(ValueError, match=f"(?s){message}"):
        evaluate.run(evaluate.Config(**{**settings, "runs": tmp_path, **change}))
