import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from jax import export, lax
from jax import numpy as jnp

from cnnlab.models.convolution import TooSmallError, convolve, convolve_transposed
from cnnlab.models.fusion import apart

PADDINGS = ["SAME", "VALID", 1, 0, ((2, 0), (1, 3))]


def standard(
    x: jax.Array, kernel: jax.Array, strides: Any = (1, 1), padding: Any = "SAME", groups: int = 1
) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        [(padding, padding)] * 2 if isinstance(padding, int) else padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def whole_numbers(seed: int, *shape: int) -> jax.Array:
    """Small ones, of which sums of products are exact in float32."""
    return jnp.asarray(np.random.default_rng(seed).integers(-4, 5, shape), jnp.float32)


def value_and_gradients(function: Callable[..., jax.Array], x: Any, kernel: Any) -> Any:
    y, gradients = jax.vjp(function, x, kernel)
    return y, *gradients(whole_numbers(9, *y.shape).astype(y.dtype))


@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("padding", PADDINGS)
def test_value_and_gradients_are_those_of_the_standard_convolution(
    strides: Any, padding: Any, quick_jit: Callable[..., Any]
) -> None:
    cases = list(itertools.product([7, 8], [(1, 1), (3, 2), (5, 3)], [1, 3]))

    def all_of(function: Callable[..., Any]) -> Any:
        def one(height: int, window: tuple[int, int], channels: int) -> Any:
            x = whole_numbers(0, 2, height, 9, channels)
            kernel = whole_numbers(1, *window, channels, 4)
            return value_and_gradients(lambda x, k: function(x, k, strides, padding), x, kernel)

        return quick_jit(lambda: [one(*case) for case in cases])()

    computed, expected = all_of(convolve), all_of(standard)
    jax.tree.map(np.testing.assert_array_equal, computed, expected)


@pytest.mark.parametrize(
    ("shape", "window"),
    [((2, 9, 40, 16), (3, 3)), ((2, 28, 28, 1), (5, 5)), ((2, 9, 10, 16), (5, 5))],
)
def test_wide_and_narrow_images_give_the_same_numbers_as_the_standard(
    shape: Any, window: Any
) -> None:
    x, kernel = whole_numbers(0, *shape), whole_numbers(1, *window, shape[3], 6)
    computed = value_and_gradients(lambda x, k: convolve(x, k, padding=2), x, kernel)
    expected = value_and_gradients(lambda x, k: standard(x, k, padding=2), x, kernel)
    jax.tree.map(np.testing.assert_array_equal, computed, expected)


def test_groups_keep_channels_apart() -> None:
    x, kernel = whole_numbers(0, 2, 6, 6, 4), whole_numbers(1, 3, 3, 2, 6)
    computed = value_and_gradients(lambda x, k: convolve(x, k, (2, 2), 1, groups=2), x, kernel)
    expected = value_and_gradients(lambda x, k: standard(x, k, (2, 2), 1, groups=2), x, kernel)
    jax.tree.map(np.testing.assert_array_equal, computed, expected)
    halves = [convolve(x[..., i : i + 2], kernel[..., i // 2 * 3 :][..., :3], 2, 1) for i in (0, 2)]
    np.testing.assert_array_equal(computed[0], jnp.concatenate(halves, -1))


def test_vmap_over_images_and_kernels_equals_one_after_the_other() -> None:
    x, kernel = whole_numbers(0, 3, 2, 6, 6, 2), whole_numbers(1, 3, 3, 3, 2, 4)

    def one(x: Any, kernel: Any) -> Any:
        return value_and_gradients(lambda x, k: convolve(x, k, 2, 1), x, kernel)

    together = jax.vmap(one)(x, kernel)
    apart_ = [one(x[i], kernel[i]) for i in range(3)]
    expected = jax.tree.map(lambda *parts: jnp.stack(parts), *apart_)
    jax.tree.map(np.testing.assert_array_equal, together, expected)
    mapped = lax.map(lambda pair: one(*pair), (x, kernel))
    jax.tree.map(np.testing.assert_array_equal, mapped, expected)


@pytest.mark.parametrize("strides", [1, 2])
def test_gradient_of_the_gradient_is_that_of_the_standard_convolution(strides: int) -> None:
    x, kernel = whole_numbers(0, 2, 5, 6, 2), whole_numbers(1, 3, 3, 2, 3)

    def second(function: Callable[..., Any]) -> Any:
        def norm(x: Any, kernel: Any) -> Any:
            def loss(x: Any, kernel: Any) -> Any:
                return jnp.sum(function(x, kernel, (strides, strides), 1) ** 3)

            gx, gk = jax.grad(loss, (0, 1))(x, kernel)
            return jnp.sum(gx**2) + jnp.sum(gk**2)

        return jax.jit(jax.grad(norm, (0, 1)))(x, kernel)

    for computed, expected in zip(second(convolve), second(standard), strict=True):
        np.testing.assert_allclose(computed, expected, rtol=1e-4)


def test_float64_gradients_agree_with_finite_differences() -> None:
    with jax.enable_x64(True):
        generator = np.random.default_rng(0)
        x, kernel = (
            jnp.asarray(generator.normal(size=shape)) for shape in ((2, 5, 6, 2), (3, 3, 2, 3))
        )

        def loss(x: Any, kernel: Any) -> Any:
            return jnp.sum(jnp.sin(convolve(x, kernel, (2, 1), 1)))

        gradients = jax.grad(loss, (0, 1))(x, kernel)
        for index, value in enumerate((x, kernel)):
            direction = jnp.asarray(generator.normal(size=value.shape))
            both = []
            for sign in (1e-5, -1e-5):
                moved = [x, kernel]
                moved[index] = value + sign * direction
                both.append(loss(*moved))
            slope = float(both[0] - both[1]) / 2e-5
            assert slope == pytest.approx(float(jnp.vdot(gradients[index], direction)), rel=1e-6)
            assert gradients[index].dtype == jnp.float64


def test_bfloat16_stays_bfloat16() -> None:
    x, kernel = (
        whole_numbers(seed, *shape).astype(jnp.bfloat16)
        for seed, shape in ((0, (1, 6, 6, 1)), (1, (3, 3, 1, 2)))
    )
    computed = value_and_gradients(lambda x, k: convolve(x, k, 1, 1), x, kernel)
    expected = value_and_gradients(
        lambda x, k: standard(x, k, padding=1), x.astype(jnp.float32), kernel.astype(jnp.float32)
    )
    for one, other in zip(computed, expected, strict=True):
        assert one.dtype == jnp.bfloat16
        np.testing.assert_allclose(one.astype(jnp.float32), other, rtol=1e-2)


def test_not_a_number_shows_in_the_gradients() -> None:
    x, kernel = whole_numbers(0, 1, 12, 40, 8), whole_numbers(1, 3, 3, 8, 8)
    _, dx, _ = value_and_gradients(lambda x, k: convolve(x, k), x, jnp.full_like(kernel, jnp.nan))
    assert np.isnan(dx).all()
    _, _, dkernel = value_and_gradients(lambda x, k: convolve(x, k), x * jnp.nan, kernel)
    assert np.isnan(dkernel).all()


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the CPU's gradients")
@pytest.mark.parametrize("strides", [1, 2])
def test_in_a_loop_every_convolution_has_the_layout_that_a_cpu_runs_quickly(strides: int) -> None:
    x, kernel = whole_numbers(0, 4, 40, 40, 8), whole_numbers(1, 3, 3, 8, 8)

    def descend(x: Any, kernel: Any) -> Any:
        def loss(x: Any, kernel: Any) -> Any:
            return jnp.sum(convolve(convolve(x, kernel, strides, 1), kernel, strides, 1) ** 2)

        return lax.fori_loop(0, 3, lambda _, k: k - jax.grad(loss, 1)(x, k), kernel)

    text = jax.jit(descend).lower(x, kernel).compile().as_text()
    lines = [line for line in text.splitlines() if " convolution(" in line]
    assert len(lines) == 5
    assert all("dim_labels=b01f_01io->b01f" in line for line in lines)
    assert not any("rhs_reversal" in line for line in lines)


def test_other_platforms_get_the_standard_gradients() -> None:
    x, kernel = whole_numbers(0, 2, 8, 8, 1), whole_numbers(1, 3, 3, 1, 4)

    def text(function: Callable[..., Any], platform: str) -> str:
        graph = jax.jit(lambda x, k: value_and_gradients(lambda x, k: function(x, k), x, k))
        return str(export.export(graph, platforms=[platform])(x, kernel).mlir_module())

    for platform in ("cuda", "tpu"):
        assert text(convolve, platform).count("stablehlo.convolution(") == 3
        assert "optimization_barrier" not in text(convolve, platform)
        assert "dot_general" not in text(convolve, platform)
    assert "optimization_barrier" in text(convolve, "cpu")


def test_apart_changes_no_number() -> None:
    x = whole_numbers(0, 3, 4)

    def twice(x: Any) -> Any:
        return apart(lambda x: 2 * x.T, x + 1)

    np.testing.assert_array_equal(jax.jit(twice)(x), 2 * (x + 1).T)
    np.testing.assert_array_equal(
        jax.vmap(twice)(x[..., None]), 2 * (x[..., None] + 1).swapaxes(1, 2)
    )
    np.testing.assert_array_equal(jax.grad(lambda x: jnp.sum(twice(x) ** 2))(x), 8 * (x + 1))


SHARDED = r"""
import json, re, jax, numpy as np
from jax import numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from cnnlab.models.convolution import convolve
from cnnlab.models.pooling import max_pool

generator = np.random.default_rng(0)
x = generator.normal(size=(16, 12, 12, 2)).astype(np.float32)
kernels = [generator.normal(size=s).astype(np.float32) for s in ((3, 3, 2, 8), (3, 3, 8, 4))]

def loss(kernels, x):
    y = max_pool(jax.nn.relu(convolve(x, kernels[0], 1, 1)), 2)
    return jnp.mean(convolve(y, kernels[1], 2, 1) ** 2)

alone = jax.jit(jax.value_and_grad(loss))(kernels, x)
mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
rows, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("data",), ()))
program = jax.jit(jax.value_and_grad(loss), in_shardings=(whole, rows), out_shardings=whole)
compiled = program.lower(kernels, x).compile()
spread = compiled(jax.device_put(kernels, whole), jax.device_put(x, rows))
names = "all-gather|all-to-all|all-reduce|collective-permute|reduce-scatter"
print(json.dumps({
    "difference": max(float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(a).max())
                      for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(spread))),
    "collectives": sorted(set(re.findall(rf" ({names})(?:-start)?\(", compiled.as_text()))),
}))
"""


def test_over_a_mesh_only_gradients_of_weights_travel(run_on_devices: Callable[..., Any]) -> None:
    computed = run_on_devices(8, SHARDED)
    assert computed["difference"] < 1e-4
    assert computed["collectives"] == ["all-reduce"]


@pytest.mark.parametrize(
    ("shape", "window", "options", "message"),
    [
        ((8, 8, 1), (3, 3, 1, 2), {}, r"images must be \[N, H, W, C\]"),
        ((1, 8, 8, 3), (3, 3, 1, 2), {}, "must fit images of 3 channels"),
        ((1, 8, 8, 4), (3, 3, 2, 3), {"groups": 2}, "F a multiple of 2"),
        ((1, 8, 8, 1), (3, 3, 1, 2), {"strides": 0}, "strides must be a number > 0"),
        ((1, 8, 8, 1), (3, 3, 1, 2), {"padding": "same"}, "SAME"),
        ((1, 8, 8, 1), (3, 3, 1, 2), {"padding": -1}, "padding must be a number >= 0"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(
    shape: Any, window: Any, options: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        convolve(jnp.zeros(shape), jnp.zeros(window), **options)


def test_another_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="bfloat16"):
        convolve(jnp.zeros((1, 8, 8, 1)), jnp.zeros((3, 3, 1, 2), jnp.bfloat16))


# The transposed convolution


def standard_transposed(
    x: jax.Array, kernel: jax.Array, stride: int = 1, padding: int = 0, output_padding: int = 0
) -> jax.Array:
    """A plain convolution of the images with zeros between them, by the turned kernel."""
    edges = [(side - 1 - padding, side - 1 - padding + output_padding) for side in kernel.shape[:2]]
    return lax.conv_general_dilated(
        x,
        kernel[::-1, ::-1],
        (1, 1),
        edges,
        lhs_dilation=(stride, stride),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def test_the_transposed_convolution_is_the_adjoint_of_the_convolution(
    quick_jit: Callable[..., Any],
) -> None:
    """``<conv(x), y> = <x, conv_transposed(y)>``, exactly, for every size that has that output."""
    cases = [
        (size, window, stride, padding)
        for size in (6, 7)
        for window in (1, 2, 3, 4)
        for stride in (1, 2, 3)
        for padding in (0, 1)
    ]

    @quick_jit
    def products() -> Any:
        computed = []
        for size, window, stride, padding in cases:
            x = whole_numbers(0, 2, size, size, 2)
            kernel = whole_numbers(1, window, window, 2, 3)
            y = convolve(x, kernel, stride, padding)
            other = whole_numbers(2, *y.shape)
            rest = (size + 2 * padding - window) % stride
            back = convolve_transposed(other, kernel.swapaxes(2, 3), stride, padding, rest)
            assert back.shape == x.shape
            computed.append((jnp.vdot(y, other), jnp.vdot(x, back)))
        return computed

    forward, backward = np.asarray(products()).T
    np.testing.assert_array_equal(forward, backward)
    assert len(set(forward)) > len(cases) / 2


TRANSPOSED: list[tuple[Any, ...]] = [(1, 1, 0), (2, 1, 1), (3, 0, 2)]


@pytest.mark.parametrize("options", TRANSPOSED)
def test_gradient_of_the_gradient_of_the_transposed_convolution_is_the_standard_one(
    options: Any, quick_jit: Callable[..., Any]
) -> None:
    x, kernel = whole_numbers(0, 2, 3, 4, 2), whole_numbers(1, 3, 3, 2, 3)

    def second(function: Callable[..., Any]) -> Any:
        def norm(x: Any, kernel: Any) -> Any:
            gx, gk = jax.grad(
                lambda x, kernel: jnp.sum(function(x, kernel, *options) ** 3), (0, 1)
            )(x, kernel)
            return jnp.sum(gx**2) + jnp.sum(gk**2)

        return jax.grad(norm, (0, 1))(x, kernel)

    computed, expected = quick_jit(
        lambda: (second(convolve_transposed), second(standard_transposed))
    )()
    for one, other in zip(computed, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


@pytest.mark.parametrize("options", TRANSPOSED)
def test_the_transposed_convolution_is_the_same_in_loops_and_under_vmap(
    options: Any, quick_jit: Callable[..., Any]
) -> None:
    x, kernels = whole_numbers(0, 3, 2, 3, 4, 2), whole_numbers(1, 3, 3, 3, 2, 3)

    def one(x: Any, kernel: Any) -> Any:
        return value_and_gradients(lambda x, k: convolve_transposed(x, k, *options), x, kernel)

    @quick_jit
    def all_ways(x: Any, kernels: Any) -> Any:
        def plain(x: Any, kernel: Any) -> Any:
            return value_and_gradients(lambda x, k: standard_transposed(x, k, *options), x, kernel)

        one_by_one = [plain(x[i], kernels[i]) for i in range(3)]
        expected = jax.tree.map(lambda *parts: jnp.stack(parts), *one_by_one)
        mapped = lax.map(lambda pair: one(*pair), (x, kernels))
        _, scanned = lax.scan(lambda carry, pair: (carry, one(*pair)), 0, (x, kernels))
        return expected, jax.vmap(one)(x, kernels), mapped, scanned

    expected, *others = all_ways(x, kernels)
    for computed in others:
        jax.tree.map(np.testing.assert_array_equal, computed, expected)


def test_the_transposed_convolution_of_bfloat16_stays_bfloat16(
    quick_jit: Callable[..., Any],
) -> None:
    x, kernel = whole_numbers(0, 1, 3, 3, 2), whole_numbers(1, 3, 3, 2, 2)

    @quick_jit
    def both(x: Any, kernel: Any) -> Any:
        def run(x: Any, kernel: Any) -> Any:
            return value_and_gradients(lambda x, k: convolve_transposed(x, k, 2, 1, 1), x, kernel)

        return run(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16)), run(x, kernel)

    for one, other in zip(*both(x, kernel), strict=True):
        assert one.dtype == jnp.bfloat16
        np.testing.assert_allclose(one.astype(jnp.float32), other, rtol=1e-2)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="the CPU's gradients")
def test_in_a_loop_the_transposed_convolution_has_the_quick_layout_and_nothing_to_spare() -> None:
    """One convolution forward and two back, in training twice that many for two layers."""
    x, kernel = whole_numbers(0, 4, 20, 20, 24), whole_numbers(1, 4, 4, 24, 24)

    def descend(x: Any, kernel: Any) -> Any:
        def loss(x: Any, kernel: Any) -> Any:
            y = convolve_transposed(x, kernel, 2, 1)
            return jnp.sum(convolve_transposed(y, kernel, 2, 1) ** 2)

        return lax.fori_loop(0, 3, lambda _, k: k - jax.grad(loss, 1)(x, k), kernel)

    text = jax.jit(descend).lower(x, kernel).compile().as_text()
    lines = [line for line in text.splitlines() if " convolution(" in line]
    assert len(lines) == 5
    assert all("dim_labels=b01f_01io->b01f" in line for line in lines)
    assert not any("rhs_reversal" in line for line in lines)


def test_other_platforms_get_the_transposed_convolution_of_xla() -> None:
    x, kernel = whole_numbers(0, 2, 4, 4, 1), whole_numbers(1, 3, 3, 1, 4)
    graph = jax.jit(
        lambda x, k: value_and_gradients(lambda x, k: convolve_transposed(x, k, 2), x, k)
    )
    for platform in ("cuda", "tpu"):
        text = str(export.export(graph, platforms=[platform])(x, kernel).mlir_module())
        assert text.count("stablehlo.convolution(") == 3
        assert "optimization_barrier" not in text


@pytest.mark.parametrize(
    ("shape", "window", "options", "message"),
    [
        ((4, 4, 1), (3, 3, 1, 2), {}, r"images must be \[N, H, W, C\]"),
        ((1, 4, 4, 2), (3, 3, 1, 2), {}, r"kernel \[kh, kw, C, F\]"),
        ((1, 4, 4, 1), (3, 3, 1, 2), {"strides": 0}, "strides must be a number > 0"),
        ((1, 4, 4, 1), (3, 3, 1, 2), {"padding": -1}, "padding must be >= 0"),
        ((1, 4, 4, 1), (3, 3, 1, 2), {"output_padding": 1}, r"output_padding in \[0, 1\)"),
        ((1, 4, 4, 1), (3, 3, 1, 2), {"strides": 2, "output_padding": 2}, r"in \[0, 2\)"),
        ((1, 4, 4, 1), (3, 3, 1, 2), {"strides": (1, 2), "output_padding": 1}, r"in \[0, 1\)"),
    ],
)
def test_arguments_that_do_not_fit_a_transposed_convolution_are_refused(
    shape: Any, window: Any, options: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        convolve_transposed(jnp.zeros(shape), jnp.zeros(window), **options)


def test_a_transposed_convolution_of_two_dtypes_is_refused() -> None:
    with pytest.raises(ValueError, match="one dtype, got float32 and bfloat16"):
        convolve_transposed(jnp.zeros((1, 4, 4, 1)), jnp.zeros((3, 3, 1, 2), jnp.bfloat16))


def test_images_that_are_too_small_are_refused_with_their_size() -> None:
    kernel = jnp.zeros((3, 3, 1, 1))
    with pytest.raises(TooSmallError, match="2 x 5 pixels with a padding of .* window of 3 x 3"):
        convolve(jnp.zeros((1, 2, 5, 1)), kernel, padding="VALID")
    with pytest.raises(TooSmallError, match="1 x 1 pixels less a padding of 2"):
        convolve_transposed(jnp.zeros((1, 1, 1, 1)), kernel, padding=2)
    with pytest.raises(TooSmallError, match="0 x 4 pixels"):
        convolve(jnp.zeros((1, 0, 4, 1)), kernel)
