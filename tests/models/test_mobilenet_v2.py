"""A family that is registered from outside: the example of docs/adding_a_network.md."""

import importlib.util
import pathlib

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import models
from cnnlab.models import registry, weights
from cnnlab.models.weights import mapping

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "mobilenet_v2.py"


@pytest.fixture(scope="module")
def example():
    """The module, which registers itself; afterwards the zoo is as before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_MAKERS", dict(registry._MAKERS))
        patch.setattr(mapping, "_MAPPINGS", dict(mapping._MAPPINGS))
        patch.setattr(mapping, "_families", {})
        spec = importlib.util.spec_from_file_location("mobilenet_v2", EXAMPLE)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def shapes_of(network, size):
    images = jnp.zeros((1, *size, 3))
    return jax.eval_shape(network.init, jax.random.key(0), images)


def test_its_size_is_the_published_one(example, row):
    network = models.create("mobilenet_v2", 1000)
    shapes, parameters = row(network, (224, 224, 3))
    assert parameters == 3_504_872
    assert shapes[:8] == [
        *((112, 112, 32), (112, 112, 16), (56, 56, 24), (28, 28, 32)),
        *((14, 14, 64), (14, 14, 96), (7, 7, 160), (7, 7, 320)),
    ]
    assert shapes[8:] == [(7, 7, 1280), (1000,)]


@pytest.mark.parametrize(
    ("width", "parameters"), [(0.35, 1_677_128), (0.75, 2_636_424), (1.4, 6_108_776)]
)
def test_other_widths_have_torchvision_s_sizes(example, row, width, parameters):
    assert row(models.create("mobilenet_v2", 1000, width=width), (96, 96, 3))[1] == parameters


def test_torchvision_s_weights_give_torchvision_s_logits(example, reference, quick_jit, tmp_path):
    script, numbers = reference("mobilenet_v2_torch")
    np.savez(tmp_path / "mobilenet.npz", **script.weights(numbers["shapes"]))
    network = models.create("mobilenet_v2", script.CLASSES, width=script.WIDTH)
    images = script.images()
    shapes = shapes_of(network, images.shape[1:3])
    variables, report = weights.load(tmp_path / "mobilenet.npz", shapes)
    assert report.mapping == "mobilenet_v2" and report.loaded == report.total == 262
    assert not report.unused and not report.missing
    logits = quick_jit(network.apply)(variables, images)
    np.testing.assert_allclose(logits, numbers["logits"], rtol=1e-4, atol=1e-4)
    with pytest.raises(weights.HeadError, match="Only the head differs"):
        other = models.create("mobilenet_v2", 7, width=script.WIDTH)
        weights.load(tmp_path / "mobilenet.npz", shapes_of(other, (32, 32)))


def test_what_is_registered_has_options_and_messages_like_the_rest(example):
    assert "mobilenet_v2" in models.names() and "mobilenet_v2" in weights.mappings()
    assert models.options("mobilenet_v2")["width"] == 1.0
    with pytest.raises(ValueError, match="Did you mean 'width'"):
        models.create("mobilenet_v2", widht=2)
    with pytest.raises(ValueError, match="Did you mean 'mobilenet_v2'"):
        models.create("mobilenet_v3")
    network = models.create("mobilenet_v2", 3, axis_name="devices")
    assert dict(network.stages)["stem"].norm == models.Norm("batch", axis_name="devices")


def test_registering_twice_or_wrongly_is_refused(example):
    models.register("mobilenet_v2", example.mobilenet_v2)  # the same again: nothing happens
    weights.register_mapping("mobilenet_v2", example.torchvision_names)
    cases = [
        (lambda: models.register("resnet20", example.mobilenet_v2), "'resnet20' already"),
        (lambda: models.register("my net", example.mobilenet_v2), "got 'my net'"),
        (lambda: models.register("mine", lambda: None), "first argument of this one is nothing"),
        (lambda: models.register("mine", lambda width: None), "of this one is width"),
        (lambda: models.register("mine", lambda num_classes, **more: None), r"got \*\*more"),
        (lambda: weights.register_mapping("vgg", example.torchvision_names), "'vgg' already"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    assert "mine" not in models.names()
