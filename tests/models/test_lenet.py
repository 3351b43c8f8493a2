"""LeNet-5 of today and of 1998: the paper's table of connections, counts and formulas."""

import jax
import numpy as np
import pytest
from flax import traverse_util
from jax import numpy as jnp

from cnnlab import models
from cnnlab.models.convolution import TooSmallError
from cnnlab.models.lenet import ConnectedConv, ConnectedSubsample, Subsampling, lenet5_1998
from cnnlab.models.lenet import scaled_tanh as squash

KEY = jax.random.key(0)

# Table I of the paper, row by row: which maps of C3 each map of S2 is seen by.
TABLE = (
    "X...XXX..XXXX.XX",
    "XX...XXX..XXXX.X",
    "XXX...XXX..X.XXX",
    ".XXX..XXXX..X.XX",
    "..XXX..XXXX.XX.X",
    "...XXX..XXXX.XXX",
)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(("padding", "pixels"), [(2, 28), (0, 32)])
def test_every_layer_of_1998_has_the_published_shape_and_parameters(made, padding, pixels):
    params, shapes = made(lenet5_1998(padding=padding), (pixels, pixels, 1))
    assert shapes["stem/conv"] == (28, 28, 6)
    assert shapes["stem/subsampling"] == (14, 14, 6)
    assert [shapes[f"stage1/conv{i}"] for i in (1, 2, 3)] == [(10, 10, n) for n in (6, 9, 1)]
    assert shapes["stage1/subsampling"] == (5, 5, 16)
    assert shapes["stage2"] == (1, 1, 120)
    assert shapes["stage3"] == (84,)
    assert shapes["head"] == (10,)
    assert size(params["stem"]["conv"]) == 156
    assert size(params["stem"]["subsampling"]) == 12
    assert size(params["stage1"]) - size(params["stage1"]["subsampling"]) == 1_516
    assert size(params["stage1"]["subsampling"]) == 32
    assert size(params["stage2"]) == 48_120
    assert size(params["stage3"]) == 10_164
    assert size(params) - size(params["head"]) == 60_000
    assert size(params["head"]) == 84 * 10 + 10


def test_larger_images_of_three_channels_leave_c5_more_places(made):
    params, shapes = made(lenet5_1998(7), (32, 32, 3))
    assert shapes["stage2"] == (2, 2, 120)
    assert shapes["head"] == (7,)
    assert params["stage3"]["dense"]["kernel"].shape == (480, 84)


def test_maps_of_c3_see_those_of_s2_that_the_paper_says(quick_jit):
    x = np.random.Generator(np.random.PCG64(0)).standard_normal((1, 6, 6, 6)).repeat(7, axis=0)
    for i in range(6):
        x[1 + i, ..., i] += 1
    outputs, _ = quick_jit(ConnectedSubsample().init_with_output)(KEY, x.astype(np.float32))
    seen = np.asarray(outputs[1:] != outputs[0]).reshape(6, 16)
    np.testing.assert_array_equal(seen, [[mark == "X" for mark in row] for row in TABLE])


def test_a_connected_map_is_the_convolution_of_the_maps_that_it_sees(quick_jit):
    layer = ConnectedConv(((0, 2), (3, 1)), 2)
    generator = np.random.Generator(np.random.PCG64(0))
    x = generator.standard_normal((2, 3, 4, 4)).astype(np.float32)
    kernel = generator.standard_normal((2, 2, 2, 2)).astype(np.float32)
    bias = np.asarray([0.5, -2.0], np.float32)
    got = quick_jit(layer.apply)({"params": {"kernel": kernel, "bias": bias}}, x)
    want = np.zeros((2, 2, 3, 2)) + bias
    for i in range(2):
        for j in range(2):
            patch = x[:, i : i + 2, j : j + 3]
            want[..., 0] += patch[..., [0, 2]] @ kernel[i, j, :, 0]
            want[..., 1] += patch[..., [3, 1]] @ kernel[i, j, :, 1]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_the_squashing_function_keeps_plus_and_minus_one():
    """Appendix A: f(1) = 1, f(-1) = -1, asymptotes at 1.7159."""
    got = squash(jnp.asarray([-100.0, -1.0, 0.0, 1.0, 100.0]))
    np.testing.assert_allclose(got, [-1.7159, -1, 0, 1, 1.7159], atol=2e-5)


def test_subsampling_adds_multiplies_shifts_and_squashes():
    x = jnp.arange(24.0).reshape(1, 3, 4, 2) / 24
    params = {"coefficient": jnp.asarray([2.0, -0.5]), "bias": jnp.asarray([-1.0, 0.25])}
    got = Subsampling().apply({"params": params}, x)
    total = x[:, 0, ::2] + x[:, 0, 1::2] + x[:, 1, ::2] + x[:, 1, 1::2]
    want = squash(total * params["coefficient"] + params["bias"])[:, None]
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_initial_weights_of_1998_are_uniform_within_their_fan_in(quick_jit):
    variables = quick_jit(lenet5_1998().init)(KEY, jnp.zeros((1, 28, 28, 1)))
    params = traverse_util.flatten_dict(variables["params"], sep="/")
    fans = {
        "stem/conv": 25,
        "stage1/conv1": 75,
        "stage1/conv2": 100,
        "stage1/conv3": 150,
        "stage2/conv": 400,
        "stage3/dense": 120,
        "head/dense": 84,
    }
    for layer, fan in fans.items():
        kernel = np.asarray(params[f"{layer}/kernel"])
        assert 0.95 * 2.4 / fan < np.abs(kernel).max() <= 2.4 / fan
        assert abs(kernel.mean()) < 4 * 2.4 / fan / np.sqrt(3 * kernel.size)


@pytest.mark.parametrize(("side", "stage"), [(15, "stage2"), (5, "stage1"), (0, "stem")])
def test_images_too_small_for_1998_are_answered_with_the_stage(side, stage):
    images = jax.ShapeDtypeStruct((1, side, side, 1), jnp.float32)
    with pytest.raises(TooSmallError, match=f"stage '{stage}'"):
        jax.eval_shape(lenet5_1998().init, KEY, images)


# The modern form


def test_options_of_the_modern_form_leave_its_parameters_as_they_were(made):
    plain, _ = made(models.lenet5(), (28, 28, 1))
    tanh, _ = made(models.lenet5(activation="tanh"), (28, 28, 1))
    normed, _ = made(models.lenet5(norm="batch"), (28, 28, 1))
    assert jax.tree.structure(plain) == jax.tree.structure(tanh)
    assert size(normed) == size(plain) + 2 * 6 + 2 * 16
    assert set(normed["stem"]) == {"conv", "norm"}


def test_every_activation_of_the_modern_form_is_the_one_that_was_chosen(quick_jit):
    network = models.lenet5(activation="tanh")
    images = np.random.Generator(np.random.PCG64(0)).standard_normal((2, 12, 12, 1))

    @quick_jit
    def extremes(x):
        ranges = []
        for _, stage in network.stages[:-1]:
            x, _ = stage.init_with_output(KEY, 100 * x)
            ranges.append((jnp.abs(x).max(), x.min()))
        return ranges

    for top, least in extremes(images.astype(np.float32)):
        assert 0.9 < top <= 1 and least < 0
