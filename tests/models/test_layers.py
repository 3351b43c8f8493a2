from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab.models import TooSmallError, layers


def normals(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        actual,
        expected,
    )


def start_and_filled(modules: Sequence[nn.Module], x: jax.Array) -> Any:
    """Variables at the start, and what comes out of them with a tenth added to each, of both."""

    def one(module: nn.Module) -> Any:
        variables = module.init(jax.random.key(1), x)
        return variables, module.apply(jax.tree.map(lambda leaf: leaf + 0.1, variables), x)

    return [one(module) for module in modules]


@pytest.mark.parametrize(
    "options", [{}, {"strides": 2, "padding": 1}, {"use_bias": False, "padding": "VALID"}]
)
def test_conv_has_flax_parameters_and_numbers(
    options: dict[str, Any], quick_jit: Callable[..., Any]
) -> None:
    ours = layers.Conv(5, 3, **options)
    theirs = nn.Conv(5, (3, 3), kernel_init=nn.initializers.he_normal(), **options)
    actual, expected = quick_jit(start_and_filled, static_argnums=0)(
        (ours, theirs), normals(0, 2, 9, 9, 3)
    )
    close(actual[0], expected[0], 0)
    close(actual[1], expected[1])


@pytest.mark.parametrize("use_bias", [True, False])
def test_dense_has_flax_parameters_and_numbers(
    use_bias: bool, quick_jit: Callable[..., Any]
) -> None:
    both = layers.Dense(5, use_bias=use_bias), nn.Dense(5, use_bias=use_bias)
    actual, expected = quick_jit(start_and_filled, static_argnums=0)(both, normals(0, 2, 4, 3))
    close(actual[0], expected[0], 0)
    close(actual[1], expected[1])


def test_conv_transpose_and_its_gradients_are_pytorchs(
    assert_as_pytorch: Any, reference: Any
) -> None:
    script, _ = reference("layers_torch")

    def layer(kernel_size: Any, strides: Any, padding: int, output_padding: int) -> Any:
        module = layers.ConvTranspose(3, kernel_size, strides, padding, output_padding)

        def apply(x: jax.Array, kernel: jax.Array) -> Any:
            return module.apply({"params": {"kernel": kernel, "bias": jnp.zeros(3)}}, x)

        return apply

    cases = script.TRANSPOSED.items()
    assert_as_pytorch(
        "transposed",
        {case: (layer(*options), *script.transposed(case)) for case, (_, *options) in cases},
    )


def test_conv_transpose_adds_its_bias_and_starts_with_hes_kernel_and_no_bias(
    quick_jit: Callable[..., Any],
) -> None:
    x = normals(0, 2, 3, 4, 50)
    layer = layers.ConvTranspose(40, 4, 2, 1)
    without = layers.ConvTranspose(40, 4, 2, 1, use_bias=False)
    apply = quick_jit(layer.apply)
    params = quick_jit(layer.init)(jax.random.key(0), x)["params"]
    assert params["kernel"].shape == (4, 4, 50, 40)
    assert float(params["kernel"].std()) == pytest.approx(np.sqrt(2 / (16 * 50)), rel=0.02)
    np.testing.assert_array_equal(params["bias"], np.zeros(40))
    filled = {"params": {**params, "bias": jnp.arange(40.0)}}
    plain = apply({"params": params}, x)
    close(apply(filled, x) - plain, np.broadcast_to(np.arange(40.0), plain.shape), 1e-4)
    close(quick_jit(without.apply)({"params": {"kernel": params["kernel"]}}, x), plain)


def test_conv_transpose_undoes_the_shape_of_a_convolution() -> None:
    for size in (7, 8):
        down = layers.Conv(4, 3, strides=2, padding=1)
        up = layers.ConvTranspose(1, 3, 2, 1, output_padding=(size + 1) % 2)
        images = jnp.zeros((1, size, size, 1))
        small, _ = jax.eval_shape(down.init_with_output, jax.random.key(0), images)
        back, _ = jax.eval_shape(
            up.init_with_output, jax.random.key(0), jnp.zeros(small.shape, small.dtype)
        )
        assert back.shape == images.shape


LAYERS = {
    "conv": layers.Conv(2, dtype=jnp.bfloat16),
    "conv_transpose": layers.ConvTranspose(2, dtype=jnp.bfloat16),
    "dense": layers.Dense(2, dtype=jnp.bfloat16),
}


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_layer_computes_in_its_dtype_and_keeps_float32_parameters(
    layer: nn.Module, quick_jit: Callable[..., Any]
) -> None:
    x = normals(0, 1, 6, 6, 1)
    y, variables = quick_jit(layer.init_with_output)(jax.random.key(0), x)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_conv_says_what_images_it_wants() -> None:
    with pytest.raises(ValueError, match=r"\[N, H, W, C\]"):
        layers.Conv(2).init(jax.random.key(0), jnp.zeros((8, 8, 1)))
    with pytest.raises(ValueError, match="groups=2"):
        layers.Conv(2, groups=2).init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    with pytest.raises(ValueError, match=r"\[N, H, W, C\]"):
        layers.ConvTranspose(2).init(jax.random.key(0), jnp.zeros((8, 8, 1)))


@pytest.mark.parametrize(
    ("layer", "made", "shape", "message"),
    [
        (layers.Conv(2), (1, 4, 4, 3), (1, 4, 4, 1), "Conv was made for 3 channels"),
        (layers.Conv(2, groups=2), (1, 4, 4, 4), (1, 4, 4, 6), "Conv was made for 4 channels"),
        (layers.ConvTranspose(2), (1, 4, 4, 3), (1, 4, 4, 1), "ose was made for 3 channels"),
        (layers.Dense(2), (1, 12), (1, 9), "Dense was made for 12 inputs"),
    ],
)
def test_inputs_other_than_those_of_the_kernel_are_refused(
    layer: nn.Module, made: Any, shape: Any, message: str
) -> None:
    variables = jax.eval_shape(layer.init, jax.random.key(0), jnp.zeros(made))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(layer.apply, variables, jnp.zeros(shape))


def test_a_padding_that_cuts_everything_off_is_refused() -> None:
    with pytest.raises(TooSmallError, match="1 x 1 pixels less a padding of 1"):
        layers.ConvTranspose(2, 2, 2, padding=1).init(jax.random.key(0), jnp.zeros((1, 1, 1, 1)))
