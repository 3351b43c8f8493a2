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
LABELS = receptive_field.pixel_labels(SHAPE)


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


def followed(function, axis):
    """First and last line of each output, by the labels of the traced computation."""
    jaxpr = jax.make_jaxpr(function)(jnp.ones((1, *SHAPE))).jaxpr
    (shape,) = (out.aval.shape for out in jaxpr.outvars)
    up, down = LABELS[2 * axis : 2 * axis + 2]
    (last,), (first,) = (receptive_field.follow(jaxpr, [labels]) for labels in (up, down))
    if last is None:
        return np.full(shape, np.iinfo(np.int64).max), np.full(shape, -1)
    assert first.shape == last.shape == shape
    depends = last >= 0
    return np.where(depends, -first.astype(int), np.iinfo(np.int64).max), np.maximum(last, -1)


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
    "product of two images": lambda x: jnp.einsum("nhwc,nwdc->nhwd", x, x[:, :3].swapaxes(1, 2)),
    "product over lines": lambda x: jnp.einsum("nhwc,hk->nkwc", x, jnp.ones((6, 2))),
    "a choice": lambda x: lax.cond(x.size > 3, lambda a: a[:, 1:], lambda a: a[:, :-1], x),
    "constants": lambda x: jnp.zeros((1, 3)),
}


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ONE_ARRAY)
def test_lines_are_those_that_change_the_output(name, axis):
    function = ONE_ARRAY[name]
    first, last = measured(function, axis)
    our_first, our_last = followed(function, axis)
    if name == "a choice":  # of what is chosen when it runs, both ways count
        assert (our_first <= first).all() and (our_last >= last).all()
        return
    np.testing.assert_array_equal(our_first, first)
    np.testing.assert_array_equal(our_last, last)


def test_an_operation_without_a_rule_depends_on_all_of_its_inputs():
    jaxpr = jax.make_jaxpr(lambda x: jnp.sort(x, axis=1))(jnp.ones((1, *SHAPE))).jaxpr
    (outputs,) = zip(*(receptive_field.follow(jaxpr, [x]) for x in LABELS), strict=True)
    assert receptive_field.middle_field(outputs) == SHAPE[:2]


def test_a_loop_and_a_gather_depend_on_all_of_their_inputs():
    def scan(x):
        return lax.scan(lambda total, row: (total + row, total * row), x[:, 0], x.swapaxes(0, 1))

    first, last = followed(lambda x: scan(x)[0] + x[:, jnp.array([2, 1])][:, 0], 0)
    assert (first == 0).all() and (last == SHAPE[0] - 1).all()


def test_constants_and_empty_arrays_depend_on_nothing_and_neither_does_their_product():
    jaxpr = jax.make_jaxpr(lambda x: (x[..., :0], jnp.ones((1, 5)) @ jnp.ones((5, 2))))(
        jnp.ones((1, *SHAPE))
    ).jaxpr
    empty, constant = receptive_field.follow(jaxpr, LABELS[:1])
    assert empty.shape == (1, 6, 9, 0) and constant is None
    assert receptive_field.middle_field([constant] * 4) == (0, 0)
