"""The lines of the image that a computation depends on, against changing them one by one."""

import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp

from cnnlab.models import receptive_field
from cnnlab.models.convolution import convolve, convolve_transposed
from cnnlab.models.norms import local_response_norm
from cnnlab.models.pooling import average_pool, global_average_pool, max_pool

SHAPE = (6, 9, 4)


def measured(function, axis):
    """First and last line of each output, found by setting the lines to infinity."""
    images = np.ones((1, *SHAPE), np.float32)
    plain = np.asarray(jax.jit(function)(images))
    first, last = np.full(plain.shape, np.iinfo(np.int64).max), np.full(plain.shape, -1)
    for line in range(SHAPE[axis]):
        changed = images.copy()
        np.moveaxis(changed, 1 + axis, 0)[line] = 1e30
        differs = np.asarray(jax.jit(function)(changed)) != plain
        first = np.where(differs, np.minimum(first, line), first)
        last = np.where(differs, np.maximum(last, line), last)
    return first, last


ONE_ARRAY = {
    "elementwise": lambda x: jnp.where(x > 0, 2 * x - 1, x) / 3 + jax.nn.relu(x),
    "max-pooling": lambda x: max_pool(x, 2),
    "max-pooling with padding": lambda x: max_pool(x, 3, 2, 1),
    "average pooling": lambda x: average_pool(x, (3, 2), (1, 3), "SAME"),
    "the mean of places": global_average_pool,
    "sums": lambda x: x.sum((0, 3)) + x.max(3)[0],
    "response normalisation": lambda x: local_response_norm(x / 1e20),
    "flattening": lambda x: x.reshape(1, -1),
    "merging and splitting": lambda x: x.reshape(3, 18, 2, 2).sum(1).reshape(12, 1, 1),
    "transposing": lambda x: x.transpose(2, 0, 3, 1),
    "slices": lambda x: x[:, ::2, 1:7:3],
    "turned round": lambda x: x[:, ::-1],
    "padding with holes": lambda x: lax.pad(x, 0.0, ((0, 0, 0), (1, 2, 1), (0, -2, 0), (0, 0, 0))),
    "side by side": lambda x: jnp.concatenate([x, x[:, :, ::-1], jnp.ones_like(x)], axis=2),
    "in a new axis": lambda x: jnp.stack([x, x[:, ::-1]], axis=1),
    "larger": lambda x: x.repeat(2, axis=1).repeat(2, axis=2),
    "convolution": lambda x: convolve(x, jnp.ones((3, 2, 4, 5)), 1, "SAME", 1),
    "convolution with a stride": lambda x: convolve(x, jnp.ones((3, 3, 4, 5)), 2, 1, 1),
    "convolution by groups": lambda x: convolve(x, jnp.ones((3, 3, 2, 4)), 1, "VALID", 2),
    "transposed convolution": lambda x: convolve_transposed(x, jnp.ones((4, 3, 4, 2)), 2, 1, 0),
    "matrix product": lambda x: x.reshape(1, -1) @ jnp.ones((216, 3)),
    "product over channels": lambda x: jnp.einsum("nhwc,cd->nhwd", x, jnp.ones((4, 2))),
    "product over lines": lambda x: jnp.einsum("nhwc,hk->nkwc", x, jnp.ones((6, 2))),
    "a choice": lambda x: lax.cond(x.size > 3, lambda a: a[:, 1:], lambda a: a[:, :-1], x),
    "constants": lambda x: jnp.zeros((1, 3)),
}


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ONE_ARRAY)
def test_lines_are_those_that_change_the_output(name, axis):
    function = ONE_ARRAY[name]
    jaxpr = jax.make_jaxpr(function)(jnp.ones((1, *SHAPE)))
    (lines,) = receptive_field.follow(jaxpr.jaxpr, [receptive_field.image_lines(SHAPE, axis)])
    (shape,) = (out.aval.shape for out in jaxpr.jaxpr.outvars)
    first, last = measured(function, axis)
    whole = lines.whole(shape)
    if name == "a choice":  # of what is chosen when it runs, both ways count
        assert (whole.first <= first).all() and (whole.last >= last).all()
        return
    np.testing.assert_array_equal(whole.first, first)
    np.testing.assert_array_equal(whole.last, last)


def test_an_operation_without_a_rule_depends_on_all_of_its_inputs():
    jaxpr = jax.make_jaxpr(lambda x: jnp.sort(x, axis=1))(jnp.ones((1, *SHAPE)))
    (lines,) = receptive_field.follow(jaxpr.jaxpr, [receptive_field.image_lines(SHAPE, 1)])
    assert receptive_field.middle_extent(lines, (1, *SHAPE)) == SHAPE[1]
