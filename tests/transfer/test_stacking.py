"""Pretraining layer by layer: the input of each layer, and the network that gets the layers."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import models
from cnnlab.transfer import stacking

WIDTHS = (6, 6)  # as many as inputs: fewer programs
SETTINGS = {"epochs": 6, "batch_size": 8}


@pytest.fixture(scope="module")
def inputs():
    """Two prototypes of 6 numbers in [0, 1], with noise: 40 examples."""
    generator = np.random.default_rng(0)
    prototypes = np.array([[0.9] * 3 + [0.1] * 3, [0.1] * 3 + [0.9] * 3])
    noisy = prototypes[np.arange(40) % 2] + generator.normal(0, 0.05, (40, 6))
    return np.clip(noisy, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def learned(inputs):
    """The stack that each method trains on them."""
    key = jax.random.key(0)
    corrupt = stacking.masking(0.25)
    return {
        "denoising": stacking.denoising_autoencoders(
            key, inputs, WIDTHS, corrupt=corrupt, learning_rate=0.03, **SETTINGS
        ),
        "rbm": stacking.belief_network(key, inputs, WIDTHS, learning_rate=0.2, **SETTINGS),
    }


def units(layer, x):
    return 1 / (1 + np.exp(-(x @ np.asarray(layer.kernel) + np.asarray(layer.hidden))))


@pytest.mark.parametrize("method", ["denoising", "rbm"])
def test_each_layer_learns_to_reconstruct_the_output_of_the_one_below(learned, inputs, method):
    stack = learned[method]
    errors = np.asarray(stack.errors)
    assert errors.shape == (2, 6)
    # The last error is that of the layer's input, by its definition.
    x = inputs
    for layer, actual in zip(stack.layers, errors, strict=True):
        assert layer.kernel.shape[0] == x.shape[1]
        h = units(layer, x)
        y = h @ np.asarray(layer.kernel).T + np.asarray(layer.visible)
        assert actual[-1] == pytest.approx((np.logaddexp(0, y) - x * y).sum(1).mean(), rel=1e-4)
        x = h
    np.testing.assert_allclose(stacking.encode(stack.layers, inputs), x, rtol=1e-4)
    assert errors[0, -1] < errors[0, 0] - 0.2
    # The best constant is the mean of each pixel: the first layer has learned more than that.
    mean = inputs.mean(0)
    constant = -(inputs * np.log(mean) + (1 - inputs) * np.log(1 - mean)).sum(1).mean()
    assert errors[0, -1] < constant - 0.2


def test_a_network_initialised_with_the_layers_computes_their_units(learned, inputs):
    network = models.create("mlp", 3, widths=WIDTHS, activation="sigmoid")
    shapes = jax.eval_shape(network.init, jax.random.key(0), inputs)["params"]
    fresh = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), dict(shapes))
    layers = learned["rbm"].layers
    params = stacking.with_hidden_layers(fresh, layers)
    actual = jax.jit(lambda p: network.apply({"params": p}, inputs, stop="stage2"))(params)
    np.testing.assert_allclose(actual, stacking.encode(layers, inputs), rtol=1e-5)
    np.testing.assert_array_equal(params["head"]["dense"]["kernel"], np.ones((6, 3)))
    assert jax.tree.structure(params) == jax.tree.structure(fresh)
    wider = {**fresh, "stage1": {"dense": {"kernel": np.ones((6, 7)), "bias": np.ones(7)}}}
    normed = {**fresh, "stage1": {**fresh["stage1"], "norm": {"scale": np.ones(6)}}}
    for others, some, message in (
        (fresh, layers[:1], "a hidden layer for each of 1 layers"),
        (wider, layers, r"stage1 must be a dense layer of shape \(6, 6\)"),
        (normed, layers, "no normalisation"),
    ):
        with pytest.raises(ValueError, match=message):
            stacking.with_hidden_layers(others, some)


@pytest.mark.slow
def test_training_mapped_over_keys_equals_training_each_alone(learned, inputs):
    def one(key):
        return stacking.belief_network(key, inputs, WIDTHS[:1], learning_rate=0.2, **SETTINGS)

    together = jax.vmap(one)(jnp.stack([jax.random.key(seed) for seed in range(2)]))
    for both, alone in zip(together.layers[0], learned["rbm"].layers[0], strict=True):
        np.testing.assert_allclose(both[0], alone, rtol=1e-3, atol=1e-4)
    assert np.abs(np.diff(together.layers[0].kernel, axis=0)).max() > 1e-3


def test_real_inputs_take_gaussian_units_and_rectifiers_a_linear_decoder(inputs):
    real = (inputs - inputs.mean()) / inputs.std()
    key = jax.random.key(0)
    how = {**SETTINGS, "visible": "gaussian", "learning_rate": 0.3, "persistent": True}
    machine = stacking.belief_network(key, real, (5,), **how)
    layer = jax.tree.map(np.asarray, machine.layers[0])
    back = units(layer, real) @ layer.kernel.T + layer.visible
    error = np.square(back - real).sum(1).mean() / 2
    assert float(machine.errors[0, -1]) == pytest.approx(error, rel=1e-4)
    assert machine.errors[0, -1] < 0.5 * np.square(real - real.mean(0)).sum(1).mean() / 2
    how = {**SETTINGS, "visible": "gaussian", "activation": "relu", "learning_rate": 0.05}
    rectified = stacking.denoising_autoencoders(key, real, (5,), **how)
    layer = jax.tree.map(np.asarray, rectified.layers[0])
    back = np.maximum(real @ layer.kernel + layer.hidden, 0) @ layer.kernel.T + layer.visible
    error = np.square(back - real).sum(1).mean() / 2
    assert float(rectified.errors[0, -1]) == pytest.approx(error, rel=1e-4)


def test_masking_hides_a_fraction_and_equal_ones_are_one():
    x = np.full((50, 40), 0.5, np.float32)
    actual = np.asarray(stacking.masking(0.25)(jax.random.key(0), x))
    assert set(np.unique(actual)) == {0.0, 0.5}
    assert (actual == 0).mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 2000))
    assert stacking.masking(0.25) is stacking.masking(0.25)
    with pytest.raises(ValueError, match=r"in \[0, 1\), got 1"):
        stacking.masking(1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": np.zeros((4, 2, 2, 1))}, r"inputs must be \[N, D\]"),
        ({"inputs": np.full((40, 6), 255.0)}, r"in \[0, 1\] for .*, got 255 to 255"),
        ({"batch_size": 41}, "batches of 1 to 40 examples"),
        ({"widths": ()}, "at least one layer"),
        ({"epochs": 0}, "1 epoch"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"visible": "gausian"}, "Did you mean 'gaussian'"),
        ({"learning_rate": 0.0}, "learning rate must be positive"),
        ({"momentum": 1.0}, r"momentum in \[0, 1\)"),
    ],
)
def test_invalid_settings_are_refused(inputs, change, message):
    settings = {"inputs": inputs, "widths": WIDTHS, **SETTINGS, **change}
    with pytest.raises(ValueError, match=message):
        stacking.belief_network(jax.random.key(0), **settings)
    if change.keys() <= {"visible", "learning_rate"}:
        with pytest.raises(ValueError, match=message):
            stacking.denoising_autoencoders(jax.random.key(0), **settings)
