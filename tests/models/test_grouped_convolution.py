"""Grouped convolutions and their gradients are those of XLA's own way, also in loops and mapped."""

import functools
from typing import Any

import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp

from cnnlab.models.convolution import convolve

# size, window, channels, features, groups, strides, padding
CASES: dict[str, tuple[Any, ...]] = {
    "depthwise": ((7, 6), (3, 3), 4, 4, 4, (1, 1), ((1, 1), (1, 1))),
    "depthwise, stride 2": ((8, 7), (3, 3), 3, 3, 3, (2, 2), ((1, 1), (1, 1))),
    "depthwise, what the stride leaves over": ((9, 8), (2, 3), 2, 2, 2, (3, 2), ((0, 0), (2, 0))),
    "depthwise, padded by more than the kernel": (
        (4, 5),
        (2, 2),
        2,
        2,
        2,
        (1, 2),
        ((2, 3), (0, 4)),
    ),
    "depthwise, large window": ((9, 9), (9, 9), 2, 2, 2, (1, 1), ((4, 4), (4, 4))),
    "several maps a channel": ((6, 5), (3, 3), 3, 6, 3, (1, 1), ((1, 1), (1, 1))),
    "two groups": ((6, 7), (3, 2), 4, 6, 2, (1, 1), ((1, 1), (0, 1))),
    "two groups, stride 2": ((8, 7), (3, 3), 4, 2, 2, (2, 3), ((0, 2), (1, 1))),
    "pointwise": ((4, 3), (1, 1), 6, 3, 3, (2, 1), ((0, 0), (0, 0))),
}


def arrays(name: str) -> tuple[jax.Array, jax.Array]:
    size, window, channels, features, groups, _, _ = CASES[name]
    generator = np.random.Generator(np.random.PCG64(0))
    x = generator.standard_normal((2, *size, channels))
    return x, generator.standard_normal((*window, channels // groups, features))


def usual(name: str, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """XLA's convolution, with its own gradients."""
    *_, groups, strides, pads = CASES[name]
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, strides, pads, dimension_numbers=layout, feature_group_count=groups
    )


def ours(name: str, x: jax.Array, kernel: jax.Array) -> jax.Array:
    *_, groups, strides, pads = CASES[name]
    return convolve(x, kernel, strides, pads, groups)


@pytest.fixture(scope="module")
def computed(quick_jit: Any) -> Any:
    """Output, gradients, and those of the gradients, of both ways, in float64."""

    def everything(convolution: Any, x: jax.Array, kernel: jax.Array) -> Any:
        def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return jnp.sum(jnp.sin(convolution(x, kernel)))

        def steepness(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return sum(jnp.sum(g**2) for g in jax.grad(loss, (0, 1))(x, kernel))

        gradients = jax.grad(loss, (0, 1))(x, kernel)
        return convolution(x, kernel), gradients, jax.grad(steepness, (0, 1))(x, kernel)

    def run(inputs: Any) -> Any:
        return {
            name: [everything(functools.partial(way, name), *inputs[name]) for way in (ours, usual)]
            for name in CASES
        }

    with jax.enable_x64(True):
        return quick_jit(run)({name: arrays(name) for name in CASES})


@pytest.mark.parametrize("name", CASES)
def test_outputs_and_gradients_of_first_and_second_order_are_the_usual_ones(
    computed: Any, name: str
) -> None:
    mine, theirs = map(jax.tree.leaves, computed[name])
    for got, want in zip(mine, theirs, strict=True):
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["depthwise, stride 2", "two groups"])
def test_in_a_loop_and_mapped_over_members_they_are_too(quick_jit: Any, name: str) -> None:
    x, kernel = arrays(name)
    kernels = np.stack([kernel, -2 * kernel, kernel + 1])

    def descend(way: Any, kernel: jax.Array) -> jax.Array:
        gradient = jax.grad(lambda kernel: jnp.sum(jnp.sin(way(name, jnp.asarray(x), kernel))))
        return lax.fori_loop(0, 3, lambda _, k: k - 0.01 * gradient(k), kernel)

    with jax.enable_x64(True):
        mapped = quick_jit(jax.vmap(functools.partial(descend, ours)))(kernels)
        wanted = [quick_jit(functools.partial(descend, usual))(each) for each in kernels]
    np.testing.assert_allclose(mapped, wanted, rtol=1e-9, atol=1e-9)


def test_depthwise_sums_of_narrow_numbers_are_taken_in_float32() -> None:
    x, kernel = (jnp.asarray(each, jnp.bfloat16) for each in arrays("depthwise"))
    y, pull = jax.vjp(functools.partial(ours, "depthwise"), x, kernel)
    gradients = pull(jnp.ones_like(y))
    wide = [each.astype(jnp.float32) for each in (x, kernel)]
    want, pull = jax.vjp(functools.partial(usual, "depthwise"), *wide)
    assert {each.dtype for each in (y, *gradients)} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(y, want.astype(jnp.bfloat16))
    for got, each in zip(gradients, pull(jnp.ones_like(want)), strict=True):
        np.testing.assert_allclose(got.astype(jnp.float32), each, rtol=1e-2, atol=1e-6)
