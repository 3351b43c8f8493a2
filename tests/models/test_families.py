"""The families: published sizes, PyTorch's outputs, and what the papers say a block does."""

import math

import jax
import numpy as np
import pytest
from flax import traverse_util
from jax import numpy as jnp

from cnnlab import models
from cnnlab.models.resnet_cifar import Block


def count(network, shape=(32, 32, 3)):
    """Trainable numbers, without making them."""
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


# Sizes


@pytest.mark.parametrize(
    ("depth", "exact", "published"),
    [
        (20, 269_722, 0.27),
        (32, 464_154, 0.46),
        (44, 658_586, 0.66),
        (56, 853_018, 0.85),
        (110, 1_727_962, 1.7),
    ],
)
def test_residual_and_plain_nets_have_the_published_size(depth, exact, published):
    """He et al., CVPR 2016, table 6, in millions; exact with the scales and biases of BatchNorm."""
    digits = 1 if depth == 110 else 2
    assert count(models.create(f"resnet{depth}")) == exact
    assert count(models.create(f"plain{depth}")) == exact
    assert round(exact / 1e6, digits) == published


def test_projections_add_their_own_parameters():
    added = (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
    assert count(models.create("resnet20", shortcut="B")) == 269_722 + added


@pytest.mark.parametrize("depth", [8, 20, 56])
@pytest.mark.parametrize("kind", ["resnet", "plain"])
def test_the_depth_is_the_number_of_weighted_layers(kind, depth):
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    network = models.create(f"{kind}{depth}")
    params = jax.eval_shape(network.init, jax.random.key(0), images)["params"]
    kernels = [path for path in traverse_util.flatten_dict(params) if path[-1] == "kernel"]
    assert len(kernels) == depth


@pytest.mark.parametrize(
    ("network", "shape", "parameters"),
    [
        (models.lenet5(), (28, 28, 1), 61_706),
        (models.linear(), (28, 28, 1), 7_850),
        (models.mlp(), (28, 28, 1), 784 * 256 + 256 + 256 * 128 + 128 + 128 * 10 + 10),
        (models.mlp(5, widths=(4,)), (2, 3, 1), 6 * 4 + 4 + 4 * 5 + 5),
        (models.mlp(5, widths=()), (2, 3, 1), 6 * 5 + 5),
    ],
)
def test_small_networks_have_the_size_of_their_formula(network, shape, parameters):
    assert count(network, shape) == parameters


# Residual nets


@pytest.mark.parametrize("shortcut", ["A", "B", "none"])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_residual_nets_give_pytorchs_logits(reference, quick_jit, shortcut, mode):
    script, numbers = reference("resnet8_torch")
    with jax.enable_x64(True):
        tree = {k: jnp.asarray(v) for k, v in script.variables(shortcut).items()}
        variables = traverse_util.unflatten_dict(tree, sep="/")
        network = models.create(
            "resnet8", script.CLASSES, width=script.WIDTH, shortcut=shortcut, dtype=jnp.float64
        )
        run = quick_jit(
            lambda v, x: network.apply(v, x, train=mode == "train", mutable=["batch_stats"])
        )
        logits, _ = run(variables, jnp.asarray(script.images()))
    assert logits.dtype == jnp.float64
    np.testing.assert_allclose(logits, numbers[f"{shortcut}/{mode}"], rtol=1e-9, atol=1e-9)


def silent_block(features, strides, shortcut, x):
    """A block whose convolutions are ones and whose last normalisation gives zero."""
    block = Block(features, strides, shortcut)
    shapes = jax.eval_shape(block.init, jax.random.key(0), x)
    variables = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
    statistics = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), shapes["batch_stats"])
    statistics = {name: {**each, "var": 1 + each["var"]} for name, each in statistics.items()}
    params = dict(variables["params"])
    params["norm2"] = jax.tree.map(jnp.zeros_like, params["norm2"])
    if "projection" in params:
        shape = params["projection"]["kernel"].shape
        params["projection"] = {"kernel": jnp.linspace(-1, 1, math.prod(shape)).reshape(shape)}
        params["projection_norm"]["bias"] = jnp.zeros(features)
    return block, {"params": params, "batch_stats": statistics}


POSITIVE = 1 + jnp.arange(2 * 5 * 4 * 3, dtype=jnp.float32).reshape(2, 5, 4, 3)


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_a_shortcut_without_change_of_shape_is_the_identity(shortcut):
    block, variables = silent_block(3, 1, shortcut, POSITIVE)
    assert set(variables["params"]) == {"conv1", "conv2", "norm1", "norm2"}
    np.testing.assert_array_equal(block.apply(variables, POSITIVE), POSITIVE)


def test_shortcut_a_subsamples_and_pads_new_maps_with_zeros():
    block, variables = silent_block(8, 2, "A", POSITIVE)
    got = np.asarray(block.apply(variables, POSITIVE))
    want = np.zeros((2, 3, 2, 8), np.float32)
    want[..., 2:5] = POSITIVE[:, ::2, ::2]
    np.testing.assert_array_equal(got, want)
    assert set(variables["params"]) == {"conv1", "conv2", "norm1", "norm2"}


def test_shortcut_b_projects_and_normalizes():
    block, variables = silent_block(4, 2, "B", POSITIVE)
    kernel = variables["params"]["projection"]["kernel"]
    assert kernel.shape == (1, 1, 3, 4)
    got = block.apply(variables, POSITIVE)
    want = np.maximum(POSITIVE[:, ::2, ::2] @ kernel[0, 0] / np.sqrt(1 + 1e-5), 0)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_a_plain_block_has_no_way_round():
    block, variables = silent_block(3, 1, "none", POSITIVE)
    np.testing.assert_array_equal(block.apply(variables, POSITIVE), jnp.zeros_like(POSITIVE))


def test_the_result_of_a_block_is_rectified_after_the_addition():
    block, variables = silent_block(3, 1, "A", POSITIVE)
    np.testing.assert_array_equal(block.apply(variables, -POSITIVE), jnp.zeros_like(POSITIVE))


def test_initial_weights_are_hes(quick_jit):
    """Standard deviation sqrt(2 / fan-in) of every convolution, normalisation the identity."""
    network = models.create("resnet8")
    variables = quick_jit(network.init)(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    params = traverse_util.flatten_dict(variables["params"], sep="/")
    for path, value in params.items():
        if value.ndim == 4:
            deviation = float(jnp.std(value)) / np.sqrt(2 / np.prod(value.shape[:3]))
            assert abs(deviation - 1) < 4 / np.sqrt(2 * value.size), path
            assert abs(float(jnp.mean(value))) < 4 * float(jnp.std(value)) / np.sqrt(value.size)
        elif path.endswith("scale"):
            np.testing.assert_array_equal(value, 1)
        elif path.endswith("bias"):
            np.testing.assert_array_equal(value, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"depth": 18}, r"depth must be 6n \+ 2 .*got 18"),
        ({"depth": 2}, r"depth must be 6n \+ 2"),
        ({"depth": -4}, r"depth must be 6n \+ 2"),
        ({"depth": 20, "shortcut": "C"}, "shortcut must be .*got 'C'"),
        ({"depth": 20, "width": 0}, "width must be at least 1"),
    ],
)
def test_invalid_options_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        models.resnet_cifar(**arguments)


# Small networks


def test_the_linear_classifier_starts_with_even_odds():
    network = models.linear(4)
    images = jnp.ones((2, 3, 3, 1))
    variables = network.init(jax.random.key(0), images)
    np.testing.assert_array_equal(network.apply(variables, images), jnp.zeros((2, 4)))


def test_the_linear_classifier_is_a_matrix_product_over_pixels_in_row_order():
    network = models.linear(2)
    images = jnp.arange(24.0).reshape(2, 2, 3, 2)
    kernel, bias = jnp.arange(24.0).reshape(12, 2) - 7, jnp.asarray([3.0, -1.0])
    params = {"head": {"dense": {"kernel": kernel, "bias": bias}}}
    got = network.apply({"params": params}, images)
    np.testing.assert_allclose(got, images.reshape(2, 12) @ kernel + bias, rtol=1e-6)


def test_the_perceptron_rectifies_hidden_layers_only():
    network = models.mlp(1, widths=(1,))
    params = {
        "stage1": {"dense": {"kernel": jnp.asarray([[1.0]]), "bias": jnp.asarray([-1.0])}},
        "head": {"dense": {"kernel": jnp.asarray([[2.0]]), "bias": jnp.asarray([-3.0])}},
    }
    images = jnp.asarray([-5.0, 0.5, 4.0]).reshape(3, 1, 1, 1)
    got = network.apply({"params": params}, images)
    np.testing.assert_array_equal(got, [[-3.0], [-3.0], [3.0]])


def test_lenet_takes_images_of_12_pixels_and_names_the_remedy_for_less():
    network = models.lenet5()
    key = jax.random.key(0)
    jax.eval_shape(network.init, key, jnp.zeros((1, 12, 12, 1)))
    with pytest.raises(ValueError, match=r"'stage1'.*at least 12 x 12.*padding=\"SAME\""):
        jax.eval_shape(network.init, key, jnp.zeros((1, 11, 12, 1)))


def test_lenet_padded_takes_images_of_8_pixels():
    images = jnp.zeros((1, 8, 8, 1))
    network = models.lenet5(padding="SAME")
    shape = jax.eval_shape(network.init_with_output, jax.random.key(0), images)[0].shape
    assert shape == (1, 10)


# Precision


@pytest.mark.parametrize("name", ["linear", "mlp", "lenet5", "resnet8"])
def test_bfloat16_computes_in_16_bits_between_float32_parameters_and_logits(quick_jit, name):
    images = jax.random.normal(jax.random.key(1), (4, 12, 12, 1))
    short = models.create(name, dtype=jnp.bfloat16)
    variables = quick_jit(short.init)(jax.random.key(0), images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    if name == "linear":
        variables = jax.tree.map(lambda x: 0.1 + 0.01 * x, {**variables})

    run = quick_jit(lambda v, x: (short.apply(v, x), models.create(name).apply(v, x)))
    logits, exact = run(variables, images)
    assert logits.dtype == jnp.float32
    error = np.abs(logits - exact).max() / np.abs(exact).max()
    assert 1e-5 < error < 0.05  # bfloat16 keeps 8 bits

    inside = jax.eval_shape(lambda x: short.apply(variables, x, stop=short.names[-2]), images)
    assert inside.dtype == (jnp.float32 if name == "linear" else jnp.bfloat16)
