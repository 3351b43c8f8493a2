"""The airbench94 network: PyTorch's logits, its size, and its initialisation."""

import functools
import itertools

import jax
import numpy as np
import pytest
from flax import traverse_util
from jax import numpy as jnp

from cnnlab.models.airbench import airbench, airbench_init, dirac, whitening
from cnnlab.models.convolution import TooSmallError, convolve
from cnnlab.models.perceptron import mlp


def shapes_of(network, shape, dtype=jnp.float32):
    images = jax.ShapeDtypeStruct((2, *shape), dtype)
    return jax.eval_shape(network.init_with_output, jax.random.key(0), images)


# The network


@pytest.mark.parametrize(("channels", "stem"), [(3, 2 * 2 * 3 * 24 + 24), (1, 2 * 2 * 8 + 8)])
def test_it_has_the_published_size(channels, stem):
    """Jordan, 2024: 1.97 M; a stem of 24 maps for colour images."""
    logits, variables = shapes_of(airbench(), (32, 32, channels))
    sizes = jax.tree.map(lambda leaf: leaf.size, variables["params"])
    counts = {name: sum(jax.tree.leaves(stage)) for name, stage in sizes.items()}
    assert logits.shape == (2, 10)
    assert counts == {
        "stem": stem,
        "stage1": 9 * 8 * channels * 64 + 9 * 64 * 64 + 2 * 64,
        "stage2": 9 * 64 * 256 + 9 * 256 * 256 + 2 * 256,
        "stage3": 9 * 256 * 256 * 2 + 2 * 256,
        "head": 2560,
    }
    assert sum(counts.values()) == (1_971_640 if channels == 3 else 1_962_152)


def test_the_stages_have_the_published_shapes():
    network = airbench()
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)
    _, variables = shapes_of(network, (32, 32, 3))
    shapes = []
    for name in network.names:
        run = lambda v, x, stop=name: network.apply(v, x, stop=stop)  # noqa: E731
        shapes.append(jax.eval_shape(run, variables, images).shape[1:])
    assert shapes == [(31, 31, 24), (15, 15, 64), (7, 7, 256), (3, 3, 256), (10,)]


@pytest.fixture(scope="module")
def torchs(reference, quick_jit):
    """Logits and statistics of the reference script and ours, whole and in parts."""
    script, numbers = reference("airbench_torch")
    with jax.enable_x64(True):
        tree = {path: jnp.asarray(value) for path, value in script.variables().items()}
        variables = traverse_util.unflatten_dict(tree, sep="/")
        network = airbench(script.CLASSES, widths=script.WIDTHS)

        def run(variables, x):
            trained, state = network.apply(variables, x, train=True, mutable=["batch_stats"])
            cuts = [
                network.apply(
                    variables,
                    network.apply(variables, x, stop=name),
                    start=network.after(name),
                )
                for name in network.names[:-1]
            ]
            return network.apply(variables, x), trained, state["batch_stats"], cuts

        ours = quick_jit(run)(variables, jnp.asarray(script.images()))
    return numbers, ours


def test_the_logits_are_pytorchs(torchs):
    numbers, (evaluated, trained, _, _) = torchs
    assert evaluated.dtype == jnp.float64
    np.testing.assert_allclose(evaluated, numbers["eval"], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(trained, numbers["train"], rtol=1e-9, atol=1e-9)


def test_six_tenths_of_the_running_statistics_are_kept(torchs):
    numbers, (_, _, state, _) = torchs
    norms = [state[f"stage{i}"][f"norm{j}"]["mean"] for i in (1, 2, 3) for j in (1, 2)]
    for ours, theirs in zip(norms, numbers["means"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_parts_after_each_other_are_the_whole(torchs):
    _, (evaluated, _, _, cuts) = torchs
    for cut in cuts:
        np.testing.assert_allclose(cut, evaluated, rtol=1e-12)


def test_reduced_precision_gives_float32_logits():
    network = airbench(dtype=jnp.bfloat16, widths=(2, 2, 2))
    logits, variables = shapes_of(network, (9, 9, 1))
    assert logits.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    images = jax.ShapeDtypeStruct((2, 9, 9, 1), jnp.float32)
    features = jax.eval_shape(lambda v, x: network.apply(v, x, stop="stage1"), variables, images)
    assert features.dtype == jnp.bfloat16


def test_wrong_arguments_and_images_are_refused():
    with pytest.raises(TooSmallError, match="stage3"):
        shapes_of(airbench(), (8, 8, 3))
    with pytest.raises(ValueError, match=r"at least one number >= 1, got \(\)"):
        airbench(widths=())
    with pytest.raises(ValueError, match="Did you mean 'gelu'"):
        airbench(activation="gellu")


# Its initialisation


def correlated(*shape):
    """Images whose neighbours and channels are correlated, with a mean of about zero."""
    x = np.random.default_rng(0).normal(size=(shape[0], shape[1] + 1, *shape[2:]))
    x = x[:, 1:] + 0.8 * x[:, :-1]
    return jnp.asarray(x + 0.5 * x[..., :1], jnp.float32)


def test_whitened_patches_have_the_identity_as_covariance(quick_jit):
    images = correlated(8, 20, 20, 3)
    kernel = quick_jit(functools.partial(whitening, eps=0.0))(images)
    assert kernel.shape == (2, 2, 3, 24)
    y = np.asarray(convolve(images, kernel, padding="VALID")).reshape(-1, 24)
    np.testing.assert_allclose(y[:, :12].T @ y[:, :12] / len(y), np.eye(12), atol=1e-3)
    np.testing.assert_allclose(y[:, 12:], -y[:, :12], atol=1e-5)


def test_the_constant_keeps_what_never_varies_finite(quick_jit):
    """Two equal channels: half of the eigenvalues are zero, and so are their outputs."""
    images = jnp.repeat(correlated(8, 12, 12, 1), 2, axis=-1)
    kernel = quick_jit(functools.partial(whitening, eps=0.01))(images)
    y = np.asarray(convolve(images, kernel, padding="VALID")).reshape(-1, 16)[:, :8]
    assert np.isfinite(kernel).all()
    variances = (y**2).mean(0)
    assert (np.diff(variances) < 1e-4).all()  # from the largest eigenvalue down
    np.testing.assert_allclose(variances[4:], 0, atol=1e-6)
    assert (variances[:4] > 0.9).all() and (variances < 1).all()


def test_the_whitening_kernel_is_pytorchs_but_for_signs(reference):
    script, numbers = reference("airbench_torch")
    with jax.enable_x64(True):
        kernel = whitening(jnp.asarray(script.images()))
    theirs = np.asarray(numbers["whitening"])
    ours = np.asarray(kernel).reshape(*theirs.shape[:1], -1)[:, : theirs.shape[1]]
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), rtol=1e-7, atol=1e-10)
    np.testing.assert_array_equal(kernel[..., theirs.shape[1] :], -kernel[..., : theirs.shape[1]])


def test_images_smaller_than_a_patch_are_refused():
    with pytest.raises(ValueError, match="must hold a patch of 2 x 2 pixels"):
        whitening(jnp.zeros((3, 1, 4, 1)))


@pytest.mark.parametrize("features", [2, 5])
def test_dirac_convolutions_pass_their_channels_on(quick_jit, features):
    images = correlated(2, 6, 7, 3)
    kernel = jnp.arange(27.0 * features).reshape(3, 3, 3, features)
    started = quick_jit(dirac)(kernel)
    y = np.asarray(quick_jit(convolve)(images, started))
    passed = min(3, features)
    np.testing.assert_array_equal(y[..., :passed], np.asarray(images)[..., :passed])
    np.testing.assert_array_equal(started[..., 3:], kernel[..., 3:])


@pytest.fixture(scope="module")
def initialised(quick_jit):
    network, images = airbench(widths=(20, 5, 5)), correlated(4, 12, 12, 2)
    return (
        network,
        images,
        quick_jit(airbench_init, static_argnums=0)(network, jax.random.key(3), images),
    )


def test_the_initialisation_puts_both_in(initialised, quick_jit):
    network, images, variables = initialised
    params = variables["params"]
    kernel = quick_jit(whitening)(images)
    np.testing.assert_allclose(params["stem"]["conv"]["kernel"], kernel, atol=1e-4)
    assert not np.any(params["stem"]["conv"]["bias"])
    for stage, layer in itertools.product(("stage1", "stage2", "stage3"), ("conv1", "conv2")):
        kernel = np.asarray(params[stage][layer]["kernel"])
        passed = min(kernel.shape[2:])
        deltas = np.zeros((3, 3, kernel.shape[2], passed))
        deltas[1, 1, :passed] = np.eye(passed)
        np.testing.assert_array_equal(kernel[..., :passed], deltas)
        assert np.count_nonzero(kernel[..., passed:]) == kernel[..., passed:].size
    fresh = quick_jit(network.init)(jax.random.key(3), images)
    same = [("stage1", "conv1"), ("head", "dense")]
    for stage, layer in same:
        ours, theirs = (tree[stage][layer]["kernel"] for tree in (params, fresh["params"]))
        start = ours.shape[2] if ours.ndim == 4 else 0
        np.testing.assert_allclose(ours[..., start:], theirs[..., start:], atol=1e-6)
    assert jax.tree.structure(variables) == jax.tree.structure(fresh)


def test_the_initialisation_refuses_another_network():
    with pytest.raises(ValueError, match="Use this initialisation for airbench"):
        jax.eval_shape(
            lambda: airbench_init(mlp(widths=(2,)), jax.random.key(0), jnp.ones((1, 4, 4, 1)))
        )
