"""Weights from elsewhere, evaluated on a data set."""

import dataclasses
import hashlib

import jax
import numpy as np
import pytest

from cnnlab import data, models
from cnnlab.models import weights
from cnnlab.studies import trained, weights_files
from experiments import evaluate, export

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
            weights_normalization="torchvision",
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
    with pytest.raises(ValueError, match="--model, --weights-normalization: only with --weights"):
        evaluate.run(evaluate.Config(finished[0], model="vgg16", weights_normalization="caffe"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "--weights needs --model"),
        ({"model": "resnet20"}, "another network.*missing from the file"),
        ({"dataset": None}, "needs --dataset"),
        (
            {"weights_normalization": None},
            "how the images .* were normalised.*Give --weights-normalization: torch",
        ),
        ({"dataset": "synthetic:60:8x8x1:4"}, "another network.*other shapes"),
        ({"weights_normalization": "0.5/0.5"}, "images of 1 channels, these have 3: choose unit"),
        ({"weights": None}, "a run directory or --weights"),
        ({"model_options": ("width",)}, "NAME=VALUE"),
        ({"best": True, "recalibrate": True}, "--best, --recalibrate: only with a run directory"),
    ],
)
def test_unfit_weights_are_named_in_the_error(file, tmp_path, change, message):
    settings = {"weights": file, "model": "resnet8", "model_options": OPTIONS, "dataset": DATASET}
    settings["weights_normalization"] = "torchvision"
    with pytest.raises(ValueError, match=f"(?s){message}"):
        evaluate.run(evaluate.Config(**{**settings, "runs": tmp_path, **change}))


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "mlp.safetensors"
    export.run(export.Config(finished[0], path, seed=1))
    return path


def test_a_file_of_ours_needs_no_other_option(finished, exported, tmp_path):
    """Model, options, normalization and data with their split are those of the run."""
    actual = evaluate.run(evaluate.Config(weights=exported, runs=tmp_path))
    wanted = finished[1]["test"]
    assert actual["accuracy"]["mean"] == wanted["accuracy"]["values"][1]
    assert actual["model"] == "mlp" and actual["model_options"] == ("widths=(8,)",)
    assert actual["examples"] == len(data.load("synthetic:90:6x6x1:3").test)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "lenet5"}, "the model of mlp.safetensors is mlp .*got --model lenet5"),
        ({"model_options": ("widths=(9,)",)}, r"widths .* is \(8,\) .*widths=\(9,\): leave it out"),
        ({"model_options": ("num_classes=5",)}, "number of classes .* is 3 .*num_classes=5"),
        (
            {"weights_normalization": "unit"},
            "normalization of mlp.safetensors is 0.*--weights-normalization unit",
        ),
        (
            {"dataset": "synthetic:60:8x8x1:3"},
            r"images of shape \(6, 6, 1\), those of .*\(8, 8, 1\)",
        ),
        (
            {"dataset": "synthetic:60:6x6x1:4"},
            "Only the network has none; only the data have class3",
        ),
    ],
)
def test_options_that_contradict_a_file_of_ours_are_refused(exported, tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        evaluate.run(evaluate.Config(**{"weights": exported, "runs": tmp_path, **change}))
    assert not list(tmp_path.iterdir())


def test_classes_are_matched_by_name(exported, tmp_path):
    """The same images with their classes in another order give the same score."""
    splits = data.load("synthetic:90:6x6x1:3")
    train, test = splits.train, splits.test
    order = np.array([2, 0, 1])
    np.savez(
        tmp_path / "other.npz",
        train_images=train.images,
        train_labels=order[train.labels],
        test_images=test.images,
        test_labels=order[test.labels],
        class_names=np.array(test.class_names)[np.argsort(order)],
    )
    same = evaluate.run(evaluate.Config(weights=exported, runs=tmp_path))
    elsewhere = {"dataset": "npz", "data_dir": tmp_path / "other.npz"}
    other = evaluate.run(evaluate.Config(weights=exported, runs=tmp_path, **elsewhere))
    assert other["accuracy"] == same["accuracy"] and other["per_class"] == same["per_class"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"normalization": "unit"},
            "normalization 0.*, mlp of run with unit: evaluate the file",
        ),
        ({"class_names": ("a", "b", "c")}, "class0, class1, class2, mlp of run a, b, c: evaluate"),
    ],
)
def test_a_run_refuses_a_file_of_ours_of_another_network(finished, exported, change, message):
    networks = trained.load_run(finished[0])
    test = networks.splits.test
    weights_files.check_same_network(exported, networks, test)
    networks = dataclasses.replace(networks, **change)
    with pytest.raises(ValueError, match=message):
        weights_files.check_same_network(exported, networks, test)
