from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp

from cnnlab.models import layers


def normals(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def close(found: Any, expected: Any, tolerance: float = 1e-5) -> None:
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        found,
        expected,
    )


@pytest.mark.parametrize(
    "options", [{}, {"strides": 2, "padding": 1}, {"use_bias": False, "padding": "VALID"}]
)
def test_conv_has_flax_parameters_and_numbers(options: dict[str, Any]) -> None:
    x = normals(0, 2, 9, 9, 3)
    ours = layers.Conv(5, 3, **options)
    theirs = nn.Conv(5, (3, 3), kernel_init=nn.initializers.he_normal(), **options)
    variables = ours.init(jax.random.key(1), x)
    close(variables, theirs.init(jax.random.key(1), x), 0)
    filled = jax.tree.map(lambda leaf: leaf + 0.1, variables)
    close(ours.apply(filled, x), theirs.apply(filled, x))


def test_conv_computes_in_its_dtype_and_keeps_float32_parameters() -> None:
    x = normals(0, 1, 6, 6, 1)
    conv = layers.Conv(2, dtype=jnp.bfloat16)
    variables = conv.init(jax.random.key(0), x)
    assert conv.apply(variables, x).dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_conv_says_what_images_it_wants() -> None:
    with pytest.raises(ValueError, match=r"\[N, H, W, C\]"):
        layers.Conv(2).init(jax.random.key(0), jnp.zeros((8, 8, 1)))
    with pytest.raises(ValueError, match="groups=2"):
        layers.Conv(2, groups=2).init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))


def batch_norm_step(norm: nn.Module, variables: Any, x: jax.Array, **options: Any) -> Any:
    """Output, running statistics and gradients of a training step."""

    def loss(params: Any, x: jax.Array) -> Any:
        y, state = norm.apply({**variables, "params": params}, x, mutable="batch_stats", **options)
        return jnp.sum(jnp.sin(y.astype(jnp.float32))), (y, state)

    (_, (y, state)), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(
        variables["params"], x
    )
    return y, state, gradients


def variables_of(norm: nn.Module, x: jax.Array, **options: Any) -> Any:
    variables = norm.init(jax.random.key(0), x, **options)
    return jax.tree.map(lambda leaf: leaf + normals(3, *leaf.shape) ** 2, variables)


def test_batch_norm_trains_as_flax() -> None:
    x = 3 + 2 * normals(0, 4, 5, 6, 3)
    ours = layers.BatchNorm(momentum=0.8, epsilon=1e-3)
    theirs = nn.BatchNorm(momentum=0.8, epsilon=1e-3)
    variables = variables_of(ours, x, train=True)
    found = batch_norm_step(ours, variables, x, train=True)
    close(found, batch_norm_step(theirs, variables, x, use_running_average=False))
    scaled = (found[0] - variables["params"]["bias"]) / variables["params"]["scale"]
    close(scaled.mean((0, 1, 2)), jnp.zeros(3), 1e-5)
    close(scaled.std((0, 1, 2)), jnp.ones(3), 1e-3)


def test_batch_norm_evaluates_by_the_running_statistics() -> None:
    x = normals(0, 2, 3, 3, 4)
    variables = variables_of(layers.BatchNorm(), x, train=True)
    found = layers.BatchNorm().apply(variables, x, train=False)
    close(found, nn.BatchNorm(use_running_average=True).apply(variables, x))


def test_batch_norm_starts_at_mean_zero_and_variance_one_whatever_it_is_shown() -> None:
    variables = layers.BatchNorm().init(jax.random.key(0), 7 + normals(0, 8, 2), train=True)
    expected = {
        "params": {"scale": jnp.ones(2), "bias": jnp.zeros(2)},
        "batch_stats": {"mean": jnp.zeros(2), "var": jnp.ones(2)},
    }
    assert jax.tree.structure(variables) == jax.tree.structure(expected)
    close(variables, expected, 0)


@pytest.mark.parametrize("options", [{"use_bias": False}, {"use_scale": False}])
def test_batch_norm_does_without_scale_or_bias(options: dict[str, bool]) -> None:
    x = normals(0, 8, 3)
    ours, theirs = layers.BatchNorm(**options), nn.BatchNorm(momentum=0.9, **options)
    variables = variables_of(ours, x, train=True)
    expected = batch_norm_step(theirs, variables, x, use_running_average=False)
    close(batch_norm_step(ours, variables, x, train=True), expected)


def test_batch_norm_over_a_mapped_axis_sees_the_whole_batch() -> None:
    x = 1 + normals(0, 8, 3, 3, 2)
    variables = variables_of(layers.BatchNorm(), x, train=True)
    whole = batch_norm_step(layers.BatchNorm(), variables, x, train=True)
    norm = layers.BatchNorm(axis_name="parts")

    def part(x: jax.Array) -> Any:
        y, state, (params, images) = batch_norm_step(norm, variables, x, train=True)
        return y, state, lax.psum(params, "parts"), images

    y, state, params, images = jax.vmap(part, axis_name="parts")(x.reshape(4, 2, 3, 3, 2))
    close(y.reshape(x.shape), whole[0], 1e-4)
    close(jax.tree.map(lambda leaf: leaf[1], state), whole[1])
    close(jax.tree.map(lambda leaf: leaf[1], params), whole[2][0], 1e-4)
    close(images.reshape(x.shape), whole[2][1], 1e-4)


def test_batch_norm_takes_statistics_of_bfloat16_in_float32() -> None:
    x = (20 + normals(0, 64, 8, 8, 2)).astype(jnp.bfloat16)
    norm = layers.BatchNorm(momentum=0.0, dtype=jnp.bfloat16)
    variables = norm.init(jax.random.key(0), x, train=True)
    y, state = norm.apply(variables, x, train=True, mutable="batch_stats")
    assert y.dtype == jnp.bfloat16
    exact = np.asarray(x, np.float64)
    close(state["batch_stats"]["mean"], exact.mean((0, 1, 2)), 1e-3)
    close(state["batch_stats"]["var"], exact.var((0, 1, 2)), 1e-3)


POOLS = [(2, None, "VALID"), ((3, 2), None, "VALID"), (3, 2, 1), (2, 2, "SAME")]


@pytest.mark.parametrize(("window", "strides", "padding"), POOLS)
def test_max_pool_and_its_gradient_are_those_of_xla(
    window: Any, strides: Any, padding: Any
) -> None:
    x = normals(0, 2, 7, 9, 3)
    sides = (window, window) if isinstance(window, int) else window
    steps = sides if strides is None else (strides, strides)
    pads = [(padding, padding)] * 2 if isinstance(padding, int) else padding

    def gradient(function: Any) -> Any:
        return jax.value_and_grad(lambda x: jnp.sum(jnp.sin(function(x))))(x)

    found = gradient(lambda x: layers.max_pool(x, window, strides, padding))
    close(found, gradient(lambda x: nn.max_pool(x, sides, steps, pads)), 1e-6)


@pytest.mark.parametrize(("strides", "padding"), [(None, "VALID"), (2, ((0, 1), (0, 1)))])
def test_of_equal_values_the_first_gets_the_whole_gradient(strides: Any, padding: Any) -> None:
    x = jnp.asarray([[1, 5, 0, 0], [5, 5, 0, 0], [2, 2, 3, 1], [2, 7, 3, 7]], jnp.float32)
    expected = jnp.asarray([[0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 1]], jnp.float32)
    x = x[None, :, :, None]
    found = jax.grad(lambda x: jnp.sum(layers.max_pool(x, 2, strides, padding)))(x)
    np.testing.assert_array_equal(found[0, :, :, 0], expected)


def test_max_pool_is_the_same_in_loops_and_under_vmap_and_twice_differentiable() -> None:
    x = normals(0, 3, 2, 4, 6, 2)

    def gradient(x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: jnp.sum(layers.max_pool(x, 2) ** 3))(x)

    expected = jnp.stack([gradient(part) for part in x])
    np.testing.assert_array_equal(jax.vmap(gradient)(x), expected)
    np.testing.assert_array_equal(jax.jit(lambda x: lax.map(gradient, x))(x), expected)
    largest = expected != 0
    second = jax.grad(lambda x: jnp.sum(gradient(x)))(x[0])
    close(second, jnp.where(largest[0], 6 * x[0], 0))


@pytest.mark.parametrize(("window", "strides", "padding"), POOLS)
def test_average_pool_is_flax(window: Any, strides: Any, padding: Any) -> None:
    x = normals(0, 2, 7, 9, 3)
    sides = (window, window) if isinstance(window, int) else window
    steps = sides if strides is None else (strides, strides)
    pads = [(padding, padding)] * 2 if isinstance(padding, int) else padding
    found = layers.average_pool(x, window, strides, padding)
    close(found, nn.avg_pool(x, sides, steps, pads), 1e-6)


def test_global_average_pool_is_the_mean_of_every_channel() -> None:
    x = jnp.arange(24.0).reshape(1, 3, 4, 2)
    np.testing.assert_array_equal(layers.global_average_pool(x), [[11, 12]])


def test_pooling_says_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\[N, H, W, C\]"):
        layers.max_pool(jnp.zeros((4, 4, 1)), 2)
    with pytest.raises(ValueError, match="window must be a number > 0"):
        layers.max_pool(jnp.zeros((1, 4, 4, 1)), 0)
