"""Closed forms against PyTorch's sizes, measured fields, and the matrix of a convolution."""

import doctest
import pathlib

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import models
from cnnlab.models import arithmetic
from cnnlab.models.convolution import convolve
from cnnlab.models.layers import Conv, ConvTranspose


def whole_numbers(seed, *shape):
    """Small ones, of which sums of products are exact in float32."""
    return jnp.asarray(np.random.default_rng(seed).integers(-4, 5, shape), jnp.float32)


# Sizes


def sizes(script, function, **options):
    """One row for each window: the size, or None where there is none."""

    def one(size, window):
        try:
            return function(size, **window, **options)
        except ValueError:
            return None

    return [[one(size, window) for size in script.SIZES] for window in script.WINDOWS]


def test_output_sizes_are_pytorchs(reference):
    script, numbers = reference("arithmetic_torch")
    assert sizes(script, arithmetic.output_size) == numbers["convolution"]


def test_rounding_up_is_pytorchs(reference):
    """PyTorch's pooling refuses more padding than half a window; sizes have no such limit."""
    script, numbers = reference("arithmetic_torch")
    for ceil, name in ((False, "pooling"), (True, "ceil")):
        computed = sizes(script, arithmetic.output_size, ceil=ceil)
        for ours, theirs in zip(computed, numbers[name], strict=True):
            assert all(b in (None, a) for a, b in zip(ours, theirs, strict=True))
    assert arithmetic.output_size(6, 3, 2) == 2
    assert arithmetic.output_size(6, 3, 2, ceil=True) == 3


def test_transposed_sizes_are_pytorchs(reference):
    script, numbers = reference("arithmetic_torch")

    def with_remainder(size, stride, **window):
        return arithmetic.transposed_output_size(
            size, stride=stride, output_padding=stride - 1, **window
        )

    computed = sizes(script, with_remainder)
    for ours, theirs in zip(computed, numbers["transposed"], strict=True):
        assert all(b in (None, a) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_sizes_are_all_those_that_a_convolution_maps_to_one(stride):
    computed = {
        arithmetic.transposed_output_size(4, 3, stride, 1, output_padding=more)
        for more in range(stride)
    }
    assert computed == {
        size for size in range(1, 40) if arithmetic.output_size(size, 3, stride, 1) == 4
    }


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (5, 1), (7, 1), (3, 4), (2, 2)])
def test_same_padding_keeps_the_size(kernel, dilation):
    padding = arithmetic.same_padding(kernel, dilation)
    assert arithmetic.output_size(9, kernel, 1, padding, dilation) == 9


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (arithmetic.output_size, (2, 5), "must fit at least once, got one of 5 pixels for 2"),
        (arithmetic.output_size, (0, 1), "size must be at least 1, got 0"),
        (arithmetic.output_size, (4, 3, 0), "stride must be at least 1, got 0"),
        (arithmetic.output_size, (4, 3, 1, -1), "padding must be at least 0, got -1"),
        (arithmetic.transposed_output_size, (4, 3, 2, 1, 2), "under the stride of 2, got 2"),
        (
            arithmetic.transposed_output_size,
            (1, 1, 1, 1),
            "one pixel must be left, got -1",
        ),
        (arithmetic.same_padding, (2,), 'must have a middle.*Use padding="SAME"'),
        (arithmetic.receptive_field, ([(3, 0)],), "stride must be at least 1"),
        (arithmetic.as_dense, (jnp.zeros((3, 3, 1, 1)), (4, 4)), r"must be \(H, W, C\)"),
        (arithmetic.sharing, (5, 1, (4, 4, 1), 1, 0), "must fit at least once"),
    ],
)
def test_invalid_arguments_are_refused(function, args, message):
    with pytest.raises(ValueError, match=message):
        function(*args)


# Receptive fields

VGG16 = [layer for n in (2, 2, 3, 3, 3) for layer in [*[(3, 1)] * n, (2, 2)]]


@pytest.mark.parametrize(
    ("layers", "field"),
    [
        ([], 1),
        ([(1, 1)], 1),
        ([(7, 1)], 7),
        ([(3, 1)] * 3, 7),
        ([(5, 1), (2, 2), (5, 1), (2, 2)], 16),  # LeNet-5
        ([(11, 4), (3, 2), (5, 1), (3, 2), *[(3, 1)] * 3, (3, 2)], 195),  # AlexNet
        (VGG16, 212),
        ([(3, 1, 1), (3, 1, 2), (3, 1, 4)], 15),  # dilations: a field that doubles
    ],
)
def test_receptive_fields_are_the_known_ones(layers, field):
    """Of the last: AlexNet 195 and VGG-16 212, as Araujo et al., Distill 2019, table 1, have."""
    assert arithmetic.receptive_field(layers) == field


def test_receptive_fields_are_those_that_a_summary_measures():
    lenet = models.summary(models.lenet5(), (28, 28, 1)).stages
    assert [stage.receptive_field for stage in lenet[:2]] == [(6, 6), (16, 16)]
    assert [arithmetic.receptive_field([(5, 1), (2, 2)] * n) for n in (1, 2)] == [6, 16]


# Costs


def test_three_small_kernels_see_what_a_large_one_sees_at_half_the_weights():
    """Simonyan and Zisserman, ICLR 2015, section 2.3: 27 C^2 against 49 C^2."""
    channels = 16
    assert arithmetic.receptive_field([(3, 1)] * 3) == arithmetic.receptive_field([(7, 1)]) == 7
    small = 3 * arithmetic.conv_parameters(3, channels, channels, bias=False)
    large = arithmetic.conv_parameters(7, channels, channels, bias=False)
    assert (small, large) == (27 * channels**2, 49 * channels**2)


@pytest.mark.parametrize(
    ("kernel", "options"), [(3, {}), ((3, 1), {"groups": 2}), (5, {"use_bias": False})]
)
def test_parameters_and_multiply_adds_are_those_of_the_layer(kernel, options):
    layer = Conv(6, kernel, strides=2, padding=1, **options)
    images = jax.ShapeDtypeStruct((1, 9, 9, 4), jnp.float32)
    y, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), images)
    groups = options.get("groups", 1)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == arithmetic.conv_parameters(
        kernel, 4, 6, groups=groups, bias=options.get("use_bias", True)
    )
    counted = models.multiply_adds(layer.apply, variables, images)
    assert counted == arithmetic.conv_multiply_adds(y.shape[1:3], kernel, 4, 6, groups=groups)
    with pytest.raises(ValueError, match="multiples of groups, got 4 and 6 for groups=4"):
        arithmetic.conv_parameters(3, 4, 6, groups=4)


# The matrix

CASES = [(1, "SAME"), (2, "SAME"), ((2, 1), 1), (1, "VALID"), ((1, 2), ((2, 0), (1, 3)))]


@pytest.mark.parametrize(("strides", "padding"), CASES)
def test_the_dense_matrix_gives_what_the_convolution_gives(quick_jit, strides, padding):
    def run(x, kernel):
        y = convolve(x, kernel, strides, padding)
        back = arithmetic.adjoint(y, kernel, x.shape[1:], strides, padding)
        return arithmetic.as_dense(kernel, x.shape[1:], strides, padding), y, back

    x, kernel = whole_numbers(0, 2, 5, 6, 2), whole_numbers(1, 3, 2, 2, 3)
    matrix, y, back = (np.asarray(part) for part in quick_jit(run)(x, kernel))
    np.testing.assert_array_equal(np.reshape(x, (2, -1)) @ matrix, y.reshape(2, -1))
    np.testing.assert_array_equal(y.reshape(2, -1) @ matrix.T, back.reshape(2, -1))


@pytest.mark.parametrize(("strides", "padding"), CASES)
def test_the_matrix_has_each_weight_as_often_as_it_is_counted(strides, padding):
    shape = (5, 6, 2)
    kernel = 1.0 + jnp.arange(3 * 2 * 2 * 3).reshape(3, 2, 2, 3)  # every weight another number
    matrix = np.asarray(arithmetic.as_dense(kernel, shape, strides, padding))
    counts = arithmetic.sharing((3, 2), 3, shape, strides, padding)
    assert counts.free == len(set(matrix[matrix != 0])) == kernel.size
    assert counts.connections == np.count_nonzero(matrix)
    assert counts.dense == matrix.size


def test_lenets_first_layer_shares_its_weights():
    """LeCun et al., 1998, section II.B: C1 has 122,304 connections, with a bias at each place."""
    counts = arithmetic.sharing(5, 6, (32, 32, 1), padding="VALID")
    assert counts == (150, 117_600, 32 * 32 * 28 * 28 * 6)
    assert counts.connections + 28 * 28 * 6 == 122_304


def test_the_gradient_of_the_dense_layer_sums_over_what_is_shared(quick_jit):
    """The convolution is the dense layer constrained: its gradient is the chain rule's sum."""
    x, kernel = whole_numbers(0, 2, 4, 4, 1), whole_numbers(1, 3, 3, 1, 2)

    def through_matrix(kernel):
        return jnp.sum((x.reshape(2, -1) @ arithmetic.as_dense(kernel, (4, 4, 1))) ** 2)

    def direct(kernel):
        return jnp.sum(convolve(x, kernel) ** 2)

    both = quick_jit(lambda k: (jax.grad(through_matrix)(k), jax.grad(direct)(k)))
    np.testing.assert_array_equal(*both(kernel))


# Transposed convolution


@pytest.mark.parametrize(("strides", "padding"), CASES)
def test_the_transposed_convolution_is_the_adjoint(quick_jit, strides, padding):
    def run(x, kernel):
        y = convolve(x, kernel, strides, padding)
        other = whole_numbers(2, *y.shape)
        back = arithmetic.adjoint(other, kernel, x.shape[1:], strides, padding)
        return jnp.vdot(y, other), jnp.vdot(x, back)

    left, right = quick_jit(run)(whole_numbers(0, 2, 5, 6, 2), whole_numbers(1, 3, 2, 2, 3))
    assert left == right


@pytest.mark.parametrize(("stride", "padding", "more"), [(1, 0, 0), (2, 1, 1), (3, 1, 2)])
def test_the_layer_is_the_adjoint_with_the_channels_swapped(quick_jit, stride, padding, more):
    x, kernel = whole_numbers(0, 2, 4, 3, 3), whole_numbers(1, 3, 3, 2, 3)
    layer = ConvTranspose(2, 3, stride, padding, more, use_bias=False)
    sizes = [arithmetic.transposed_output_size(n, 3, stride, padding, more) for n in (4, 3)]

    def run(x, kernel):
        swapped = {"params": {"kernel": kernel.swapaxes(2, 3)}}
        adjoint = arithmetic.adjoint(x, kernel, (*sizes, 2), stride, padding)
        return layer.apply(swapped, x), adjoint

    computed, expected = quick_jit(run)(x, kernel)
    assert computed.shape == (2, *sizes, 2)
    np.testing.assert_array_equal(computed, expected)


# Examples


@pytest.mark.parametrize("where", ["docstrings", "docs/convolution.md"])
def test_examples_give_what_they_say(where):
    if where == "docstrings":
        computed = doctest.testmod(arithmetic)
    else:
        page = pathlib.Path(__file__).parents[2] / where
        computed = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert computed.attempted > 1 and computed.failed == 0
