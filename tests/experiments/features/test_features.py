"""Features of a finished run, in a file."""

import dataclasses

import numpy as np
import pytest

from cnnlab.models.weights import save_safetensors
from cnnlab.studies.build import load_data
from cnnlab.studies.trained import load_run
from cnnlab.train import predict
from cnnlab.transfer.features import load_features
from experiments import features


def test_the_head_s_features_of_a_run_are_its_logits(finished, tiny_config, capsys):
    directory, _ = finished
    path = features.run(features.Config(run=directory))
    assert path == directory / "features-test-synthetic-90-6x6x1-3.npz"
    actual, labels, names = load_features(path)
    splits = load_data(tiny_config)
    networks = load_run(directory)
    logits = predict(networks.recipe, networks.states, splits.test)
    assert actual["stage1"].shape == (2, len(splits.test), 8)
    np.testing.assert_allclose(actual["head"], logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(labels, splits.test.labels)
    assert tuple(names) == splits.test.class_names
    assert "stage1     float32 [2, " in capsys.readouterr().out


def test_weights_from_a_file_and_a_part_of_the_stages(tmp_path, finished, tiny_config):
    directory, _ = finished
    networks = load_run(directory)
    params = {"params": {stage: {**each} for stage, each in networks.states.params.items()}}
    alone = {"params": _first(params["params"])}
    save_safetensors(alone, tmp_path / "mlp.safetensors", {})
    config = features.Config(
        weights=tmp_path / "mlp.safetensors",
        model="mlp",
        model_options=("widths=(8,)", "num_classes=3"),
        weights_normalization="unit",
        dataset=tiny_config.dataset,
        stages=("stage1",),
        part="train",
        to=tmp_path / "new.npz",
    )
    actual, labels, _ = load_features(features.run(config))
    assert list(actual) == ["stage1"] and actual["stage1"].shape == (1, len(labels), 8)
    dense = alone["params"]["stage1"]["dense"]
    train = load_data(dataclasses.replace(tiny_config, validation=None)).train
    pixels = train.images.reshape(len(train), -1) / 255
    wanted = np.maximum(pixels @ np.asarray(dense["kernel"]) + np.asarray(dense["bias"]), 0)
    np.testing.assert_allclose(actual["stage1"][0], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stages": ("stage9",)}, "unknown stage 'stage9'"),
        ({"pool": "max"}, "--pool must be"),
        ({"to": "features.npy"}, "must end with .npz"),
        ({"dataset": "digits"}, r"images of shape \(6, 6, 1\)"),
        ({"run": None}, "give a run directory or --weights"),
        ({"run": None, "weights": "x.npz"}, "--to FILE.npz"),
        ({"mapping": "vgg"}, "--mapping: only with --weights FILE"),
    ],
)
def test_invalid_settings_are_refused(finished, settings, message):
    directory, _ = finished
    given = {"run": directory, **settings}
    for name in ("to", "weights"):
        if name in given:
            given[name] = directory / given[name]
    with pytest.raises(ValueError, match=message):
        features.run(features.Config(**given))


def _first(tree):
    return {k: _first(v) if isinstance(v, dict) else v[0] for k, v in tree.items()}
