from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp

from cnnlab.models import TooSmallError, pooling

POOLS = [(2, None, "VALID"), ((3, 2), None, "VALID"), (3, 2, 1), (2, 2, "SAME")]


def normals(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        actual,
        expected,
    )


def sides(window: Any, strides: Any, padding: Any) -> tuple[Any, Any, Any]:
    """The padding in Flax's form."""
    window = (window, window) if isinstance(window, int) else window
    strides = window if strides is None else (strides, strides)
    return window, strides, [(padding, padding)] * 2 if isinstance(padding, int) else padding


def test_max_pool_and_its_gradient_are_pytorchs(assert_as_pytorch: Any, reference: Any) -> None:
    script, _ = reference("layers_torch")

    def layer(window: Any, strides: Any, padding: int, ceil: bool) -> Any:
        return lambda x: pooling.max_pool(x, window, strides, padding, ceil=ceil)

    cases = script.MAX_POOLS.items()
    assert_as_pytorch(
        "max_pool", {case: (layer(*options), script.pool(size)) for case, (size, *options) in cases}
    )


def test_average_pool_and_its_gradient_are_pytorchs(assert_as_pytorch: Any, reference: Any) -> None:
    script, _ = reference("layers_torch")

    def layer(*options: Any) -> Any:
        return lambda x: pooling.average_pool(x, *options)

    cases = script.AVERAGE_POOLS.items()
    assert_as_pytorch(
        "average_pool",
        {case: (layer(*options), script.pool(size)) for case, (size, *options) in cases},
    )


@pytest.mark.parametrize(("window", "strides", "padding"), POOLS)
def test_max_pool_and_its_gradient_are_those_of_xla(
    window: Any, strides: Any, padding: Any, quick_jit: Callable[..., Any]
) -> None:
    options = sides(window, strides, padding)

    @quick_jit
    def both(x: jax.Array) -> Any:
        return [
            jax.value_and_grad(lambda x, pool=pool: jnp.sum(jnp.sin(pool(x))))(x)
            for pool in (
                lambda x: pooling.max_pool(x, window, strides, padding),
                lambda x: nn.max_pool(x, *options),
            )
        ]

    close(*both(normals(0, 2, 7, 9, 3)), 1e-6)


@pytest.mark.parametrize(("strides", "padding"), [(None, "VALID"), (2, ((0, 1), (0, 1)))])
def test_of_equal_values_the_first_gets_the_whole_gradient(strides: Any, padding: Any) -> None:
    x = jnp.asarray([[1, 5, 0, 0], [5, 5, 0, 0], [2, 2, 3, 1], [2, 7, 3, 7]], jnp.float32)
    expected = jnp.asarray([[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1]], jnp.float32)
    x = x[None, :, :, None]
    actual = jax.grad(lambda x: jnp.sum(pooling.max_pool(x, 2, strides, padding)))(x)
    np.testing.assert_array_equal(actual[0, :, :, 0], expected)


def test_a_window_over_the_edge_takes_what_lies_within() -> None:
    x = -jnp.arange(1.0, 26.0).reshape(1, 5, 5, 1)
    got = pooling.max_pool(x, 2, ceil=True)[0, :, :, 0]
    np.testing.assert_array_equal(got, [[-1, -3, -5], [-11, -13, -15], [-21, -23, -25]])
    slope = jax.grad(lambda x: jnp.sum(pooling.max_pool(x, 2, ceil=True)))(x)[0, :, :, 0]
    corners = np.zeros((5, 5))
    corners[::2, ::2] = 1
    np.testing.assert_array_equal(slope, corners)


@pytest.mark.parametrize(
    ("size", "window", "strides", "floor", "ceil"),
    [(112, 3, 2, 55, 56), (55, 3, 2, 27, 27), (14, 3, 2, 6, 7), (7, 2, 2, 3, 4), (8, 2, 2, 4, 4)],
)
def test_sizes_are_rounded_up_with_ceil_and_down_without(
    size: int, window: int, strides: int, floor: int, ceil: int
) -> None:
    images = jax.ShapeDtypeStruct((1, size, size, 1), jnp.float32)
    for up, expected in ((False, floor), (True, ceil)):
        got = jax.eval_shape(lambda x, up=up: pooling.max_pool(x, window, strides, ceil=up), images)
        assert got.shape == (1, expected, expected, 1)


@pytest.mark.parametrize("options", [{}, {"strides": 2, "ceil": True, "padding": 1}])
def test_max_pool_is_the_same_in_loops_and_under_vmap_and_twice_differentiable(
    options: Any, quick_jit: Callable[..., Any]
) -> None:
    x = normals(0, 3, 2, 4, 6, 2)
    window = 3 if options else 2

    def gradient(x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: jnp.sum(pooling.max_pool(x, window, **options) ** 3))(x)

    @quick_jit
    def all_ways(x: jax.Array) -> Any:
        one_by_one = jnp.stack([gradient(part) for part in x])
        second = jax.grad(lambda x: jnp.sum(gradient(x)))(x[0])
        return one_by_one, jax.vmap(gradient)(x), lax.map(gradient, x), second

    expected, together, mapped, second = all_ways(x)
    close(together, expected, 1e-6)
    close(mapped, expected, 1e-6)
    times = expected[0] / (3 * x[0] ** 2)  # of how many windows a value is the largest
    close(second, times * 6 * x[0], 1e-4)


@pytest.mark.parametrize(("window", "strides", "padding"), POOLS)
def test_average_pool_is_flax(window: Any, strides: Any, padding: Any) -> None:
    x = normals(0, 2, 7, 9, 3)
    actual = pooling.average_pool(x, window, strides, padding)
    close(actual, nn.avg_pool(x, *sides(window, strides, padding)), 1e-6)


def test_global_average_pool_is_the_mean_of_every_channel() -> None:
    x = jnp.arange(24.0).reshape(1, 3, 4, 2)
    np.testing.assert_array_equal(pooling.global_average_pool(x), [[11, 12]])


@pytest.mark.parametrize("pool", [pooling.max_pool, pooling.average_pool])
def test_bfloat16_stays_bfloat16(pool: Any) -> None:
    x = jnp.ones((1, 5, 5, 1), jnp.bfloat16)
    for options in ({"window": 2}, {"window": 3, "strides": 2, "padding": 1}):
        assert pool(x, **options).dtype == jnp.bfloat16


def test_pooling_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\[N, H, W, C\]"):
        pooling.max_pool(jnp.zeros((4, 4, 1)), 2)
    with pytest.raises(ValueError, match="window must be a number > 0"):
        pooling.max_pool(jnp.zeros((1, 4, 4, 1)), 0)
    with pytest.raises(ValueError, match=r"less than the window \(2, 2\), got 2"):
        pooling.max_pool(jnp.zeros((1, 4, 4, 1)), 2, padding=2)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((2, 5), {"window": 3}),
        ((5, 2), {"window": 3, "strides": 2}),
        ((1, 1), {"window": 3, "strides": 2, "ceil": True}),
    ],
)
def test_images_into_which_no_window_fits_are_refused(size: Any, options: Any) -> None:
    with pytest.raises(TooSmallError, match=f"{size[0]} x {size[1]} pixels.*window of 3 x 3"):
        pooling.max_pool(jnp.zeros((1, *size, 1)), **options)
    if "ceil" not in options:
        with pytest.raises(TooSmallError):
            pooling.average_pool(jnp.zeros((1, *size, 1)), **options)
