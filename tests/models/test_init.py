"""Initialisations: their variances, what data-dependent ones reach, Fixup's zero branches."""

import functools
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict
from jax import numpy as jnp

from cnnlab import models
from cnnlab.diagnose import activations, hidden_units
from cnnlab.losses import softmax_cross_entropy
from cnnlab.models import init, init_kernels
from cnnlab.models.airbench import whitening
from cnnlab.models.layers import ConvTranspose
from cnnlab.models.resnet_cifar import Block

IMAGES = jax.random.normal(jax.random.key(5), (96, 6, 6, 2)) + 0.5
LABELS = jnp.arange(96) % 3


@pytest.fixture(scope="module")
def start(quick_jit):
    """``start(init, network, seed=0, images=IMAGES) -> variables``, compiled."""

    def draw(chosen, network, seed=0, images=IMAGES):
        return quick_jit(chosen, static_argnums=0)(network, jax.random.key(seed), images)

    return draw


@pytest.fixture(scope="module")
def wide():
    """One dense layer 200 -> 300 and a head 300 -> 3: enough numbers to measure a variance."""
    return models.mlp(3, widths=(300,)), jnp.zeros((1, 1, 200, 1))


VARIANCES = {
    "gaussian": ({"std": 0.05}, 0.05**2),
    "lecun": ({}, 1 / 200),
    "lecun uniform": ({"distribution": "uniform"}, 1 / 200),
    "glorot": ({}, 2 / 500),
    "glorot normal": ({"distribution": "normal"}, 2 / 500),
    "he": ({}, 2 / 200),
    "he out": ({"fan": "fan_out"}, 2 / 300),
    "random_walk": ({}, 2 * np.exp(2.4 / (300 - 2.4)) / 300),
    "random_walk in": ({"fan": "fan_in"}, 2 * np.exp(2.4 / (200 - 2.4)) / 200),
    "random_walk linear": ({"activation": "linear"}, np.exp(1 / 300) / 300),
    "random_walk tanh": ({"gain": 1.1}, 1.1**2 / 300),
}


@pytest.mark.parametrize("case", VARIANCES)
def test_kernels_have_the_variance_of_the_formula(start, wide, case):
    options, variance = VARIANCES[case]
    kernel = start(init.create(case.split()[0], **options), wide[0], images=wide[1])
    kernel = np.asarray(kernel["params"]["stage1"]["dense"]["kernel"], np.float64)
    # The relative error of a variance is sqrt(2 / n) for normal numbers: 0.6 % here; five of them.
    assert kernel.var() == pytest.approx(variance, rel=0.03)
    assert abs(kernel.mean()) < 5 * np.sqrt(variance / kernel.size)
    uniform = case.endswith("uniform") or case == "glorot"
    bound = np.sqrt(3 * variance)
    assert (np.abs(kernel).max() <= 1.0001 * bound) == uniform


@pytest.mark.parametrize(
    ("width", "activation", "gain_squared"),
    [
        (16, "relu", 2 * np.exp(2.4 / 13.6)),  # 19 % over sqrt(2)
        (3, "relu", 2 * np.exp(2.4 / 3.6)),  # that of width 6
        (16, "linear", np.exp(1 / 16)),
    ],
)
def test_the_gain_of_a_random_walk_is_larger_in_narrow_layers(
    start, width, activation, gain_squared
):
    network, images = models.mlp(3, widths=(width,)), jnp.zeros((1, 1, 20_000, 1))
    drawn = start(init.create("random_walk", activation=activation), network, images=images)
    kernel = np.asarray(drawn["params"]["stage1"]["dense"]["kernel"], np.float64)
    assert width * kernel.var() == pytest.approx(gain_squared, rel=0.03)


def test_the_fan_of_a_convolution_counts_its_window(start):
    network = models.create("resnet8", num_classes=3, width=24)
    params = start(init.create("he"), network)["params"]
    kernel = np.asarray(params["stage3"]["block0"]["conv2"]["kernel"])
    assert kernel.shape == (3, 3, 96, 96)
    assert kernel.var() == pytest.approx(2 / (9 * 96), rel=0.03)


class Transposed(nn.Module):
    """A transposed convolution, with ReLU's output as its input: a second moment of 1/2."""

    window: int
    strides: int
    layer: Any = ConvTranspose

    @nn.compact
    def __call__(self, x, *, train=False):
        window, strides = (self.window,) * 2, (self.strides,) * 2
        return self.layer(64, window, strides, use_bias=False, name="up")(nn.relu(x))


@pytest.mark.parametrize(
    ("layer", "window", "strides", "name", "gain"),
    [
        *((ConvTranspose, *each, "he", 1.0) for each in ((4, 2), (2, 2), (3, 1), (3, 2))),
        (ConvTranspose, 4, 2, "lecun", 0.5),
        (nn.ConvTranspose, 4, 2, "he", 1.0),
    ],
)
def test_a_strided_transposed_convolution_keeps_the_variance(
    start, layer, window, strides, name, gain
):
    network = models.Network((("stem", Transposed(window, strides, layer)),))
    images = jax.random.normal(jax.random.key(0), (4, 12, 12, 32))
    variables = start(init.create(name), network, images=images)
    output = network.apply(variables, images)[:, window:-window, window:-window]
    # Over whole strides, for the kernel's rows need not divide into them.
    rows = output.shape[1] // strides * strides
    assert float(output[:, :rows, :rows].var()) == pytest.approx(gain, rel=0.15)


def test_fans_of_transposed_kernels():
    kernel = init_kernels.Kernel(("up", "kernel"), (4, 4, 6, 10), jnp.float32, strides=4)
    assert (kernel.fan_in, kernel.fan_out) == (4 * 4 * 6 / 4, 4 * 4 * 10)
    for fan, name in (("fan_in", "he"), ("fan_avg", "glorot")):
        network = models.Network((("stem", Transposed(4, 2)),))
        images = jnp.zeros((1, 4, 4, 32))
        options = {"distribution": "normal"}
        drawn = init.create(name, **options)(network, jax.random.key(1), images)
        variance = 2 / {"fan_in": 4 * 32, "fan_avg": 4 * 32 + 16 * 64}[fan]
        values = np.asarray(drawn["params"]["stem"]["up"]["kernel"])
        assert values.var() == pytest.approx(variance, rel=0.05)


def test_constant_and_the_default(start, quick_jit, wide):
    network, images = wide
    params = start(init.create("constant", value=0.3), network, images=images)["params"]
    assert np.unique(params["head"]["dense"]["kernel"]).tolist() == [np.float32(0.3)]
    result = start(init.create("default"), network, 2, images)
    wanted = quick_jit(network.init)(jax.random.key(2), images)
    jax.tree.map(np.testing.assert_array_equal, result, dict(wanted))


def test_orthogonal_kernels_are_orthonormal_up_to_the_gain(start):
    network = models.create("resnet8", num_classes=3, width=2)
    params = start(init.create("orthogonal", gain=1.5), network)["params"]
    for path, kernel in flatten_dict(params).items():
        if path[-1] == "kernel":
            flat = np.asarray(kernel).reshape(-1, kernel.shape[-1])
            tall = flat if flat.shape[0] >= flat.shape[1] else flat.T
            np.testing.assert_allclose(tall.T @ tall, 2.25 * np.eye(tall.shape[1]), atol=1e-4)


def test_other_parameters_start_as_the_layers_declare_and_biases_at_zero(start):
    network = models.mlp(3, widths=(5, 4), norm="batch")
    result = start(init.create("he"), network)
    fresh = start(init.create("default"), network)
    assert jax.tree.structure(result) == jax.tree.structure(fresh)
    wanted = flatten_dict(fresh)
    for path, leaf in flatten_dict(result).items():
        if path[-1] == "kernel":
            assert not np.array_equal(leaf, wanted[path])
        else:
            np.testing.assert_array_equal(leaf, wanted[path])
    assert not np.any(result["params"]["head"]["dense"]["bias"])


def test_a_layers_draw_does_not_depend_on_the_other_layers(start):
    he = init.create("he")
    long = start(he, models.mlp(3, widths=(7, 7, 7, 7)))["params"]
    short = start(he, models.mlp(3, widths=(9, 7, 7)))["params"]
    np.testing.assert_array_equal(
        long["stage3"]["dense"]["kernel"], short["stage3"]["dense"]["kernel"]
    )
    assert not np.array_equal(long["stage3"]["dense"]["kernel"], long["stage4"]["dense"]["kernel"])


@pytest.mark.parametrize("name", ["he", "lsuv"])
def test_mapped_over_keys_each_network_is_the_one_of_its_key(start, quick_jit, name):
    network, chosen = models.mlp(3, widths=(6, 5)), init.create(name)
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    many = quick_jit(jax.vmap(lambda key: chosen(network, key, IMAGES)))(keys)
    one = start(chosen, network, 1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-3, atol=1e-5), many, one)
    kernels = many["params"]["stage1"]["dense"]["kernel"]
    assert not np.array_equal(kernels[0], kernels[1])


@pytest.fixture(scope="module")
def measure(quick_jit):
    """``measure(network, variables) -> [LayerStatistics]`` for IMAGES."""

    def layers(network, variables):
        return quick_jit(lambda v: activations(network, v, IMAGES))(variables)

    return layers


def conv_net(norm):
    return models.create("resnet8", num_classes=3, width=3, norm=norm)


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_lsuv_ends_with_unit_variance_in_every_layer(start, measure, norm):
    network = conv_net(norm)
    layers = measure(network, start(init.create("lsuv", examples=96), network))
    assert len(layers) == 8
    stds = np.array([layer.gives.std for layer in layers])
    np.testing.assert_allclose(stds, 1, rtol=1e-3)


def test_lsuv_scales_orthonormal_kernels_as_the_papers_algorithm_does(start):
    network = models.mlp(3, widths=(12, 10))
    result = start(init.create("lsuv", examples=96), network)["params"]
    params = flatten_dict(start(init.create("orthogonal"), network)["params"])
    x = np.asarray(IMAGES, np.float64).reshape(96, -1)
    for stage in ("stage1", "stage2", "head"):  # algorithm 1, with as many rounds as it takes
        kernel = np.asarray(params[stage, "dense", "kernel"], np.float64)
        while abs((x @ kernel).var() - 1) > 1e-9:
            kernel = kernel / (x @ kernel).std()
        np.testing.assert_allclose(result[stage]["dense"]["kernel"], kernel, rtol=1e-4, atol=1e-6)
        x = np.maximum(x @ kernel, 0)


def test_lsuv_leaves_a_layer_alone_whose_output_does_not_vary(start):
    network = models.mlp(3, widths=(4,))
    images = jnp.zeros((8, 2, 2, 1))
    result = start(init.create("lsuv"), network, images=images)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))


def outputs(network, variables):
    """The output of each dense layer of a perceptron, [N, C] each."""
    x, result = IMAGES.reshape(96, -1), []
    for name in network.names[1:]:
        layer = variables["params"][name]["dense"]
        result.append(np.asarray(x @ layer["kernel"] + layer["bias"]))
        x = jnp.maximum(result[-1], 0)
    return result


def test_data_dependent_channels_have_the_mean_that_is_asked_for_and_unit_variance(start):
    network = models.mlp(3, widths=(8, 6))
    variables = start(init.create("data", examples=96, balance=0, bias=0.1), network)
    for output in outputs(network, variables):
        np.testing.assert_allclose(output.mean(0), 0.1, atol=1e-4)
        np.testing.assert_allclose(output.std(0), 1, rtol=1e-3)


def rates(network, params, quick_jit):
    """Krähenbühl's C_k by its definition: a gradient for each image and each random direction."""

    @quick_jit
    def each(params, directions):
        def score(params, image, direction):
            return network.apply({"params": params}, image[None], train=True)[0] @ direction

        return jax.vmap(jax.grad(score), (None, 0, 0))(params, IMAGES, directions)

    directions = jax.random.normal(jax.random.key(8), (96, 3))
    gradients, kernels = flatten_dict(each(params, directions)), flatten_dict(params)
    return np.array(
        [
            np.sqrt(np.sum(gradients[path] ** 2) / 96 / np.sum(kernels[path] ** 2))
            for path in kernels
            if path[-1] == "kernel"
        ]
    )


def test_balanced_layers_change_at_equal_rates_and_stay_centred(start, quick_jit):
    network = models.mlp(3, widths=(40, 6, 20))
    before = start(init.create("data", examples=96, balance=0), network)
    after = start(init.create("data", examples=96), network)
    result = [rates(network, variables["params"], quick_jit) for variables in (before, after)]
    assert result[0].max() > 1.7 * result[0].min()
    # The initialisation averages over its own directions, so the rates agree up to their noise.
    assert result[1].max() < 1.3 * result[1].min()
    for output in outputs(network, after):
        np.testing.assert_allclose(output.mean(0), 0, atol=1e-4)
        np.testing.assert_allclose(output.std(0), output.std(0).mean(), rtol=1e-3)
    np.testing.assert_allclose(outputs(network, after)[-1].std(0), 1, rtol=0.05)


@pytest.mark.slow
def test_the_data_dependent_one_takes_networks_with_blocks_and_norms(start, measure):
    network = conv_net("batch")
    layers = measure(network, start(init.create("data", balance=2), network))
    assert all(np.isfinite(layer.gives.std) and layer.gives.std > 0 for layer in layers)


def test_fixup_starts_with_zero_logits_and_blocks_that_pass_their_input_on(start, quick_jit):
    network = conv_net("none")
    params = start(init.create("fixup"), network)["params"]
    logits = quick_jit(network.apply)({"params": params}, IMAGES)
    np.testing.assert_array_equal(logits, 0)
    x = jnp.abs(IMAGES[..., :1]) * jnp.ones(3)
    block = Block(3, norm="none")
    np.testing.assert_array_equal(block.apply({"params": params["stage1"]["block0"]}, x), x)


def test_fixup_scales_the_branches_by_their_number_and_depth(start):
    network = conv_net("none")
    shapes = jax.eval_shape(network.init, jax.random.key(0), IMAGES[:1])["params"]
    blocks = init_kernels.residual_blocks(network, shapes)
    assert len(blocks) == 3 and set(blocks.values()) == {2}
    he = start(init.create("he"), network)["params"]
    fixup = start(init.create("fixup"), network)["params"]
    inner = ("stage2", "block0", "conv1", "kernel")
    scaled, whole = flatten_dict(fixup)[inner], flatten_dict(he)[inner]
    np.testing.assert_allclose(scaled, whole * 3**-0.5, rtol=1e-5)  # L^(-1 / (2 m - 2)), m = 2
    np.testing.assert_array_equal(fixup["stem"]["conv"]["kernel"], he["stem"]["conv"]["kernel"])
    assert not np.any(fixup["stage3"]["block0"]["conv2"]["kernel"])


@pytest.mark.parametrize("name", ["plain8", "mlp", "lenet5"])
def test_fixup_says_that_there_is_no_residual_block(name):
    network = models.create(name, num_classes=3)
    fixup = init.create("fixup")
    with pytest.raises(ValueError, match="fixup needs residual blocks"):
        jax.eval_shape(lambda: fixup(network, jax.random.key(0), jnp.zeros((1, 32, 32, 1))))


def test_equal_weights_stay_equal(start, quick_jit):
    network = models.mlp(3, widths=(6, 5))
    optimizer = optax.sgd(0.1)

    @quick_jit
    def train(params):
        def loss(params):
            logits = network.apply({"params": params}, IMAGES, train=True)
            return softmax_cross_entropy(logits, LABELS).mean()

        def step(_, carry):
            params, state = carry
            updates, state = optimizer.update(jax.grad(loss)(params), state)
            return optax.apply_updates(params, updates), state

        return jax.lax.fori_loop(0, 50, step, (params, optimizer.init(params)))[0]

    same = start(init.create("constant", value=0.1), network)["params"]
    learnt = train(same)
    assert not np.allclose(learnt["stage1"]["dense"]["kernel"], 0.1, atol=1e-3)
    assert hidden_units(network, learnt) == {"stage1/dense": [1, 6], "stage2/dense": [1, 5]}
    other = train(start(init.create("he"), network)["params"])
    assert hidden_units(network, other) == {"stage1/dense": [6, 6], "stage2/dense": [5, 5]}


def test_airbench_looks_at_the_number_of_images_asked_for(start):
    network = models.airbench(3)
    images = jax.random.normal(jax.random.key(3), (6, 32, 32, 3))
    assert init.create("airbench").examples == 5000
    chosen = init.create("airbench", examples=4)
    assert chosen.examples == 4
    result = start(chosen, network, images=images)["params"]["stem"]["conv"]["kernel"]
    for other, same in ((images[:4], True), (images, False)):
        wanted = whitening(other).astype(result.dtype)
        assert np.allclose(result, wanted, rtol=1e-3, atol=1e-4) == same


def test_one_image_is_not_enough_to_measure_a_variance():
    with pytest.raises(ValueError, match="images must be at least 2"):
        init.create("lsuv")(models.mlp(3), jax.random.key(0), IMAGES[:1])


def trained_losses(name, seed):
    """Losses of 60 updates of a 110-layer net without normalisation on 64 images."""
    network = models.create("resnet110", num_classes=3, width=4, norm="none")
    labels = LABELS[:64]
    images = IMAGES[:64] + (labels - 1.0)[:, None, None, None]  # classes differ in brightness
    optimizer = optax.sgd(0.05, momentum=0.9)

    def loss(params):
        logits = network.apply({"params": params}, images, train=True)
        return softmax_cross_entropy(logits, labels).mean()

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def train(key):
        params = init.create(name)(network, key, images)["params"]

        def step(carry, _):
            params, state = carry
            value, gradients = jax.value_and_grad(loss)(params)
            updates, state = optimizer.update(gradients, state)
            return (optax.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, optimizer.init(params)), length=60)[1]

    return np.asarray(train(jax.random.key(seed)))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_fixup_trains_110_layers_without_normalisation_and_he_does_not(seed):
    fixup, he = trained_losses("fixup", seed), trained_losses("he", seed)
    chance = np.log(3)
    assert fixup[0] == pytest.approx(chance, rel=1e-5)
    assert fixup[-1] < 0.1 * chance
    # With He each of 54 blocks about doubles the variance. Where the loss then goes is chaotic; but
    # it starts far above that of guessing and never gets down to it (53 at the least, of 3 seeds).
    assert he[0] > 100 * chance
    assert not np.any(he <= chance)  # true of NaN as well
