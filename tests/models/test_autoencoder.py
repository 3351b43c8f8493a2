"""Autoencoders: sizes, PyTorch's outputs, and gradients of kernels that are used twice."""

import jax
import numpy as np
import pytest
from flax import traverse_util
from jax import numpy as jnp

from cnnlab.models.autoencoder import conv_autoencoder, dense_autoencoder, untie


def shapes_of(network, shape):
    images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    return jax.eval_shape(network.init_with_output, jax.random.key(0), images)


def count(network, shape):
    return sum(leaf.size for leaf in jax.tree.leaves(shapes_of(network, shape)[1]["params"]))


def tree_of(paths):
    arrays = {path: jnp.asarray(value) for path, value in paths.items()}
    return traverse_util.unflatten_dict(arrays, sep="/")


# Sizes

WEIGHTS = 784 * 1000 + 1000 * 500 + 500 * 250 + 250 * 30
BIASES = 2 * (1000 + 500 + 250) + 30 + 784


def test_the_published_dense_one_has_the_size_of_its_formula():
    """Hinton and Salakhutdinov, 2006: 784-1000-500-250-30 and back."""
    assert count(dense_autoencoder(), (28, 28, 1)) == WEIGHTS + BIASES == 1_420_814
    assert count(dense_autoencoder(tied=False), (28, 28, 1)) == 2 * WEIGHTS + BIASES == 2_837_314


def test_tied_decoders_have_only_biases():
    params = shapes_of(dense_autoencoder(), (28, 28, 1))[1]["params"]
    ups = {name: stage for name, stage in params.items() if name.startswith("up")}
    shapes = {name: {p: x.shape for p, x in stage["dense"].items()} for name, stage in ups.items()}
    assert shapes == {
        f"up{i}": {"bias": (n,)} for i, n in enumerate([250, 500, 1000, 784], start=1)
    }


@pytest.mark.parametrize(("code", "more"), [(None, 0), (10, (1024 * 10 + 10) + (10 * 1024 + 1024))])
def test_the_convolutional_one_has_the_size_of_its_formula(code, more):
    encoder = 16 * (1 * 16 + 16 * 32 + 32 * 64) + 16 + 32 + 64
    decoder = 16 * (64 * 32 + 32 * 16 + 16 * 1) + 32 + 16 + 1
    assert count(conv_autoencoder(code=code), (32, 32, 1)) == encoder + decoder + more


@pytest.mark.parametrize(
    ("network", "stop", "shape"),
    [
        (dense_autoencoder(3, widths=(5, 4)), "stage2", (4,)),
        (conv_autoencoder(3, widths=(2, 4)), "stage1", (2, 3, 4)),
        (conv_autoencoder(3, widths=(2, 4), code=7), "stage2", (7,)),
    ],
)
def test_the_code_stands_in_the_middle_and_the_image_comes_back(network, stop, shape):
    out, variables = shapes_of(network, (8, 12, 3))
    assert out.shape == (2, 8, 12, 3)
    images = jax.ShapeDtypeStruct((2, 8, 12, 3), jnp.float32)
    code = jax.eval_shape(lambda v, x: network.apply(v, x, stop=stop), variables, images)
    assert jax.tree.leaves(code)[0].shape == (2, *shape)


# Numbers


def run_whole_and_cut(network, params, images, quick_jit):
    def run(params, x):
        cuts = []
        for name in network.names[:-1]:
            features = network.apply({"params": params}, x, stop=name)
            cuts.append(network.apply({"params": params}, features, start=network.after(name)))
        return network.apply({"params": params}, x, train=True), cuts

    return quick_jit(run)(params, images)


@pytest.mark.parametrize("kind", ["convolutional", "tied"])
def test_outputs_are_pytorchs_whole_and_in_parts(reference, quick_jit, kind):
    script, numbers = reference("autoencoder_torch")
    if kind == "tied":
        network = dense_autoencoder(script.CHANNELS, widths=script.DENSE_WIDTHS)
        paths = script.dense_parameters()
    else:
        network = conv_autoencoder(script.CHANNELS, widths=script.CONV_WIDTHS, code=script.CODE)
        paths = script.conv_parameters()
    with jax.enable_x64(True):
        images = jnp.asarray(script.images())
        whole, cuts = run_whole_and_cut(network, tree_of(paths), images, quick_jit)
    for outputs in (whole, *cuts):
        np.testing.assert_allclose(outputs, numbers[kind], rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def tied(reference, quick_jit):
    """The loss's value and gradients, of the tied network and of the untied one made of it."""
    script, numbers = reference("autoencoder_torch")

    def loss_of(network):
        def loss(params):
            out = network.apply({"params": params}, images)
            return jnp.mean((out - images) ** 2)

        return loss

    with jax.enable_x64(True):
        images = jnp.asarray(script.images())
        params = tree_of(script.dense_parameters())
        losses = [
            loss_of(dense_autoencoder(script.CHANNELS, widths=script.DENSE_WIDTHS, tied=tied))
            for tied in (True, False)
        ]

        def run(params):
            shared = jax.value_and_grad(losses[0])(params)
            return shared, jax.value_and_grad(losses[1])(untie(params))

        return numbers, jax.tree.map(np.asarray, quick_jit(run)(params))


def test_gradients_of_shared_kernels_are_pytorchs(tied):
    numbers, ((_, gradients), _) = tied
    outputs = traverse_util.flatten_dict(gradients, sep="/")
    assert {p: pytest.approx(np.linalg.norm(g)) for p, g in outputs.items()} == numbers[
        "gradient norms"
    ]


def test_a_shared_kernels_gradient_is_the_sum_of_both_uses(tied):
    """Untied, the two uses have kernels of their own: their gradients add up."""
    _, ((loss, gradients), (untied_loss, parts)) = tied
    assert loss == pytest.approx(untied_loss)
    for stage, up in (("stage1", "up3"), ("stage2", "up2"), ("stage3", "up1")):
        both = (parts[stage]["dense"]["kernel"], parts[up]["dense"]["kernel"].T)
        np.testing.assert_allclose(gradients[stage]["dense"]["kernel"], sum(both), atol=1e-12)
        assert all(np.any(np.abs(part) > 1e-6) for part in both)


def test_linear_ones_with_orthogonal_kernels_give_back_what_lies_in_their_span():
    """x W W^T: a projection, for W with orthonormal columns."""
    network = dense_autoencoder(1, widths=(3,), activation="identity")
    kernel, _ = jnp.linalg.qr(jax.random.normal(jax.random.key(0), (12, 3)))
    params = {
        "stage1": {"dense": {"kernel": kernel, "bias": jnp.zeros(3)}},
        "up1": {"dense": {"bias": jnp.zeros(12)}},
    }
    inside = (jax.random.normal(jax.random.key(1), (5, 3)) @ kernel.T).reshape(5, 3, 4, 1)
    np.testing.assert_allclose(network.apply({"params": params}, inside), inside, atol=1e-5)


# Options


@pytest.mark.parametrize("make", [dense_autoencoder, conv_autoencoder])
def test_a_sigmoid_output_lies_between_zero_and_one(make, quick_jit):
    images = 50 * jax.random.normal(jax.random.key(0), (2, 4, 4, 1))
    networks = [make(1, widths=(3, 2), output=kind) for kind in ("identity", "sigmoid")]
    variables = quick_jit(networks[0].init)(jax.random.key(0), images)
    both = quick_jit(lambda v, x: [network.apply(v, x) for network in networks])
    plain, squashed = both(variables, images)
    np.testing.assert_allclose(jax.nn.sigmoid(plain), squashed, atol=1e-6)


@pytest.mark.parametrize(
    "network",
    [
        conv_autoencoder(1, widths=(2, 3), code=2, norm="batch", dtype=jnp.bfloat16),
        dense_autoencoder(1, widths=(3, 2), dtype=jnp.bfloat16),
        dense_autoencoder(1, widths=(3, 2), tied=False, dtype=jnp.bfloat16),
    ],
)
def test_reduced_precision_computes_in_it_and_gives_float32(network):
    out, variables = shapes_of(network, (8, 8, 1))
    assert out.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    images = jax.ShapeDtypeStruct((2, 8, 8, 1), jnp.float32)
    for stop in ("stage1", "stage2", "up1", "up2"):
        part = jax.eval_shape(lambda v, x, s=stop: network.apply(v, x, stop=s), variables, images)
        assert jax.tree.leaves(part)[0].dtype == jnp.bfloat16


def test_normalisation_follows_every_convolution_but_the_last():
    _, variables = shapes_of(conv_autoencoder(widths=(2, 3), norm="batch"), (8, 8, 1))
    assert set(variables["batch_stats"]) == {"stem", "stage1", "up1"}
    assert "bias" not in variables["params"]["up1"]["conv"]
    assert "bias" in variables["params"]["head"]["conv"]


# Errors


def test_sizes_that_do_not_halve_are_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"a multiple of 8 .* got 28 x 30. Pad them to 32 x 32"):
        shapes_of(conv_autoencoder(), (28, 30, 1))


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"\[N, H, W, 1\], got shape \(2, 4, 4, 3\)"):
        shapes_of(dense_autoencoder(), (4, 4, 3))


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (dense_autoencoder, {"widths": ()}, r"must be >= 1, got channels=1, widths=\(\)"),
        (conv_autoencoder, {"code": 0}, "code=0"),
        (conv_autoencoder, {"channels": 0}, "channels=0"),
        (conv_autoencoder, {"norm": "bach"}, "Did you mean 'batch'"),
        (dense_autoencoder, {"output": "sigmod"}, "Did you mean 'sigmoid'"),
    ],
)
def test_invalid_options_are_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
