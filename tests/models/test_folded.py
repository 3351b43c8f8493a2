"""Traced computations on folded arrays against the same on whole ones."""

import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp

from cnnlab.models.convolution import convolve, convolve_transposed
from cnnlab.models.folded import Folded, fold, full
from cnnlab.models.folded_evaluation import evaluate
from cnnlab.models.norms import local_response_norm
from cnnlab.models.pooling import average_pool, global_average_pool, max_pool

IMAGES = (3, 6, 9, 4)


def folded(generator, shape, dtype=np.float32):
    """Random numbers; the first axis is whole, the others of one, of few or of all entries."""
    entries = [n if i == 0 else int(generator.choice([1, 2, n])) for i, n in enumerate(shape)]
    index = [
        np.arange(n) if n == kept else generator.integers(0, kept, n)
        for n, kept in zip(shape, entries, strict=True)
    ]
    return Folded(generator.standard_normal(entries).astype(dtype), tuple(index))


def agree(function, *values):
    whole = [jnp.asarray(value.unfolded().array) for value in values]
    jaxpr, shapes = jax.make_jaxpr(function, return_shape=True)(*whole)
    found = evaluate(jaxpr.jaxpr, jaxpr.consts, *values)
    expected = jax.tree.leaves(function(*whole))
    assert [y.shape for y in found] == [leaf.shape for leaf in jax.tree.leaves(shapes)]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.array.dtype == theirs.dtype
        np.testing.assert_allclose(mine.unfolded().array, theirs, rtol=2e-5, atol=2e-5)


ONE_ARRAY = {
    "elementwise": lambda x: jnp.where(x > 0, jnp.tanh(x), 2 * x - 1) / 3 + jax.nn.gelu(x),
    "relu": jax.nn.relu,
    "integers": lambda x: (x * 9).astype(jnp.int32) // 2 - lax.div((x * 9).astype(jnp.int32), 4),
    "max-pooling": lambda x: max_pool(x, 2),
    "max-pooling with padding": lambda x: max_pool(x, 3, 2, 1),
    "average pooling": lambda x: average_pool(x, (3, 2), (1, 3), "SAME"),
    "the mean of places": global_average_pool,
    "sums": lambda x: (x.sum((0, 3)), x.max(2), x.min((1, 2))),
    "response normalisation": local_response_norm,
    "flattening": lambda x: x.reshape(3, -1),
    "merging and splitting": lambda x: x.reshape(3, 54, 2, 2).sum(1).reshape(12, 1, 1),
    "adding an axis": lambda x: x[:, None, ..., None] + jnp.ones((2, 1, 1, 1, 5)),
    "turning": lambda x: x.transpose(2, 0, 3, 1)[::-1],
    "slices": lambda x: (x[:, ::2, 1:-3], x[..., 1], x[1:2, :0]),
    "padding": lambda x: lax.pad(x, 7.0, ((0, 1, 0), (2, -1, 0), (-2, 0, 2), (0, 0, 1))),
    "joining": lambda x: jnp.concatenate([x, -x, jnp.zeros((3, 6, 9, 1))], axis=-1),
    "stacking": lambda x: jnp.stack([x, 2 * x, x], axis=3).reshape(3, 6, 9, 12),
    "repeating": lambda x: x.repeat(2, axis=1),
    "no rule": lambda x: jnp.cumsum(jnp.sort(x, axis=1), axis=2),
    "a loop": lambda x: lax.scan(lambda c, row: (c + row, c * row), x[0], x),
    "a choice": lambda x: lax.platform_dependent(x, cpu=jnp.sin, default=jnp.sin),
    "an empty array": lambda x: (x, jnp.zeros((3, 6, 0))),
}


@pytest.mark.parametrize("name", ONE_ARRAY)
def test_what_is_done_to_a_folded_array_is_done_to_the_whole(name):
    for seed in range(2):
        agree(ONE_ARRAY[name], folded(np.random.default_rng(seed), IMAGES))


@pytest.mark.parametrize(
    ("function", "kernel"),
    [
        (lambda x, w: convolve(x, w), (3, 3, 4, 5)),
        (lambda x, w: convolve(x, w, 2, 1), (3, 2, 4, 6)),
        (lambda x, w: convolve(x, w, (1, 3), "VALID"), (5, 1, 4, 2)),
        (lambda x, w: convolve(x, w, 1, 2, groups=2), (3, 3, 2, 6)),
        (lambda x, w: convolve(x, w, 1, 1, groups=4), (3, 3, 1, 4)),
        (lambda x, w: convolve_transposed(x, w, 2, 1, 1), (4, 3, 4, 5)),
        (
            lambda x, w: lax.conv_general_dilated(
                x.transpose(0, 3, 1, 2), w, (1, 2), "SAME", rhs_dilation=(2, 3)
            ),
            (5, 4, 3, 2),
        ),
        (lambda x, w: jnp.einsum("nhwc,cf->nhwf", x, w), (4, 7)),
        (lambda x, w: x.reshape(3, -1) @ w, (216, 2)),
        (lambda x, w: jnp.einsum("nhwc,nwd->nhcd", x, w), (3, 9, 2)),
    ],
)
def test_products_of_folded_arrays_are_those_of_the_whole(function, kernel):
    for seed in range(2):
        generator = np.random.default_rng(seed)
        agree(function, folded(generator, IMAGES), folded(generator, kernel))


@pytest.mark.parametrize("seed", range(4))
def test_arrays_that_are_folded_differently_meet(seed):
    generator = np.random.default_rng(seed)
    x, y, z = (folded(generator, IMAGES) for _ in range(3))
    agree(lambda x, y, z: (x * y + z, jnp.concatenate([x, y, z], axis=2)), x, y, z)


def test_reduced_precision_stays_reduced():
    x = full(IMAGES, 1.5, jnp.bfloat16)
    w = full((3, 3, 4, 2), 0.25, jnp.bfloat16)
    agree(lambda x, w: jax.nn.relu(convolve(x, w, 1, "VALID")), x, w)


def test_a_network_of_equal_weights_stays_folded():
    """An image of lines has one column, and behind a padded window one more for every edge."""
    line = np.zeros((2, 64, 1, 1), np.float32)
    line[1, 20] = 1
    image = full((2, 64, 64, 3), 0, np.float32)
    x = Folded(line, (np.arange(2), np.arange(64), *image.index[2:]))
    kernel = full((3, 3, 3, 16), 1 / 27, np.float32)
    jaxpr = jax.make_jaxpr(
        lambda x, w: lax.conv_general_dilated(
            x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
    )(jnp.zeros(x.shape), jnp.zeros(kernel.shape))
    (y,) = evaluate(jaxpr.jaxpr, jaxpr.consts, x, kernel)
    assert y.shape == (2, 64, 64, 16)
    assert y.array.shape == (2, 64, 3, 1)
    np.testing.assert_allclose(y.array[1, 19:22, :, 0], [[2 / 9, 1 / 3, 2 / 9]] * 3, rtol=1e-6)


def test_an_array_that_is_not_folded_is_as_it_was():
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    assert fold(x).unfolded().array is x
    assert fold(x).shape == x.shape
