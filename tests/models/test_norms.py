"""Normalisation layers, and the networks that have one of them or none."""

import re
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from jax import lax
from jax import numpy as jnp

from cnnlab import models
from cnnlab.models.norms import (
    KINDS,
    MOMENTS,
    BatchNorm,
    GroupNorm,
    Norm,
    local_response_norm,
    norm,
)
from cnnlab.models.resnet_cifar import Block


def normals(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        actual,
        expected,
    )


def test_every_normalisation_and_its_gradients_are_pytorchs(
    assert_as_pytorch: Any, reference: Any
) -> None:
    script, _ = reference("layers_torch")

    def layer(kind: str) -> Any:
        module = norm(kind, groups=script.GROUPS)

        def apply(x: jax.Array, scale: jax.Array, bias: jax.Array) -> Any:
            params = {"scale": scale, "bias": bias}
            return module.apply({"params": params}, x, True, mutable="batch_stats")[0]

        return apply

    assert_as_pytorch("norm", {kind: (layer(kind), *script.norm()) for kind in script.NORMS})


# Settings


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_a_norm_with_settings_is_the_layer_with_them(kind: str) -> None:
    x = normals(0, 4, 3, 3, 6) / 10
    settings = {"batch": {"momentum": 0.75}, "group": {"groups": 3}}.get(kind, {})
    layer = norm(Norm(kind, epsilon=0.5, **settings))
    variables = layer.init(jax.random.key(0), x, True)
    y, state = layer.apply(variables, x, True, mutable="batch_stats")
    axes = {"batch": (0, 1, 2), "layer": (1, 2, 3, 4), "group": (1, 2, 4), "instance": (1, 2)}[kind]
    cut = x.reshape(4, 3, 3, 3, 2) if kind in ("layer", "group") else x
    variance = jnp.var(cut, axes, keepdims=True)
    wanted = (cut - jnp.mean(cut, axes, keepdims=True)) / jnp.sqrt(variance + 0.5)
    close(y, wanted.reshape(x.shape))
    if kind == "batch":  # three quarters of the running variance of 1 are kept
        close(state["batch_stats"]["var"], 0.75 + 0.25 * variance.ravel())


def test_settings_reach_every_norm_of_a_network() -> None:
    setting = Norm("batch", epsilon=1e-3, momentum=0.97)
    images = jnp.zeros((2, 8, 8, 1))
    for name in ("resnet8", "vgg11_small", "unet", "mlp", "lenet5", "conv_autoencoder"):
        if name == "conv_autoencoder":
            network = models.create(name, norm=setting)
        else:
            network = models.create(name, 3, norm=setting)
        size = 32 if name in ("vgg11_small", "lenet5", "unet") else 8
        layers = norms_of(network, jnp.zeros((2, size, size, 1)) if size > 8 else images)
        assert layers and {(n.epsilon, n.momentum) for n in layers} == {(1e-3, 0.97)}, name


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "plain8", "vgg11_small", "airbench94"])
def test_batch_norm_of_the_zoo_is_taken_over_devices_where_asked(name: str) -> None:
    network = models.create(name, 3, axis_name="devices")
    layers = norms_of(network, jnp.zeros((2, 32, 32, 3)))
    assert layers and {n.axis_name for n in layers} == {"devices"}
    assert {n.axis_name for n in norms_of(models.create(name), jnp.zeros((2, 32, 32, 3)))} == {None}


def test_an_axis_of_devices_is_for_batch_normalisation_only() -> None:
    setting = Norm("batch", momentum=0.5)
    made = models.create("resnet8", norm=setting, axis_name="devices")
    assert dict(made.stages)["stem"].norm == Norm("batch", momentum=0.5, axis_name="devices")
    # Nothing else takes statistics over examples.
    assert models.create("resnet8", norm="group", axis_name="d") == models.create(
        "resnet8", norm="group"
    )
    assert models.create("alexnet", axis_name="d") == models.create("alexnet")
    with pytest.raises(ValueError, match="linear has no option norm .*axis_name='d'"):
        models.create("linear", axis_name="d")


def norms_of(network: Any, images: jax.Array) -> list[Any]:
    """The batch normalisations that a network runs."""
    layers = []

    def watch(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if isinstance(context.module, BatchNorm):
            layers.append(context.module)
        return call(*args, **kwargs)

    with nn.intercept_methods(watch):
        jax.eval_shape(network.init, jax.random.key(0), images)
    return layers


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "bach"}, "Did you mean 'batch'"),
        ({"kind": "none"}, "Known: batch, layer, group, instance"),
        ({"epsilon": 0.0}, "epsilon must be > 0"),
        ({"epsilon": float("nan")}, "epsilon must be > 0"),
        ({"momentum": 1.0}, r"in \[0, 1\), got 1e-05 and 1.0"),
        ({"kind": "layer", "momentum": 0.99}, "momentum is only for the norm 'batch'"),
        ({"kind": "group", "axis_name": "d"}, "axis_name is only for the norm 'batch'"),
        ({"groups": 8}, "groups is only for the norm 'group', not 'batch'"),
    ],
)
def test_settings_out_of_range_or_of_another_kind_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Norm(**settings)


# Batch normalisation


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


@pytest.fixture(scope="module")
def step(quick_jit: Callable[..., Any]) -> Callable[..., Any]:
    """``batch_norm_step``, compiled."""

    def run(norm: nn.Module, variables: Any, x: jax.Array, **options: Any) -> Any:
        return quick_jit(lambda v, x: batch_norm_step(norm, v, x, **options))(variables, x)

    return run


def test_batch_norm_trains_as_flax(step: Callable[..., Any]) -> None:
    x = 3 + 2 * normals(0, 4, 5, 6, 3)
    ours = BatchNorm(momentum=0.8, epsilon=1e-3)
    theirs = nn.BatchNorm(momentum=0.8, epsilon=1e-3)
    variables = variables_of(ours, x, train=True)
    actual = step(ours, variables, x, train=True)
    close(actual, step(theirs, variables, x, use_running_average=False))
    scaled = (actual[0] - variables["params"]["bias"]) / variables["params"]["scale"]
    close(scaled.mean((0, 1, 2)), jnp.zeros(3), 1e-5)
    close(scaled.std((0, 1, 2)), jnp.ones(3), 1e-3)


def test_batch_norm_evaluates_by_the_running_statistics() -> None:
    x = normals(0, 2, 3, 3, 4)
    variables = variables_of(BatchNorm(), x, train=True)
    actual = BatchNorm().apply(variables, x, train=False)
    close(actual, nn.BatchNorm(use_running_average=True).apply(variables, x))


def test_batch_norm_starts_at_mean_zero_and_variance_one_whatever_it_is_shown() -> None:
    variables = BatchNorm().init(jax.random.key(0), 7 + normals(0, 8, 2), train=True)
    expected = {
        "params": {"scale": jnp.ones(2), "bias": jnp.zeros(2)},
        "batch_stats": {"mean": jnp.zeros(2), "var": jnp.ones(2)},
    }
    assert jax.tree.structure(variables) == jax.tree.structure(expected)
    close(variables, expected, 0)


@pytest.mark.parametrize("options", [{"use_bias": False}, {"use_scale": False}])
def test_batch_norm_does_without_scale_or_bias(
    options: dict[str, bool], step: Callable[..., Any]
) -> None:
    x = normals(0, 8, 3)
    ours, theirs = BatchNorm(**options), nn.BatchNorm(momentum=0.9, **options)
    variables = variables_of(ours, x, train=True)
    expected = step(theirs, variables, x, use_running_average=False)
    close(step(ours, variables, x, train=True), expected)


def test_batch_norm_over_a_mapped_axis_sees_the_whole_batch(
    step: Callable[..., Any], quick_jit: Callable[..., Any]
) -> None:
    x = 1 + normals(0, 8, 3, 3, 2)
    variables = variables_of(BatchNorm(), x, train=True)
    whole = step(BatchNorm(), variables, x, train=True)
    mapped = BatchNorm(axis_name="parts")

    def part(x: jax.Array) -> Any:
        y, state, (params, images) = batch_norm_step(mapped, variables, x, train=True)
        return y, state, lax.psum(params, "parts"), images

    parts = x.reshape(4, 2, 3, 3, 2)
    y, state, params, images = quick_jit(jax.vmap(part, axis_name="parts"))(parts)
    close(y.reshape(x.shape), whole[0], 1e-4)
    close(jax.tree.map(lambda leaf: leaf[1], state), whole[1])
    close(jax.tree.map(lambda leaf: leaf[1], params), whole[2][0], 1e-4)
    close(images.reshape(x.shape), whole[2][1], 1e-4)


def test_batch_norm_takes_statistics_of_bfloat16_in_float32() -> None:
    x = (20 + normals(0, 64, 8, 8, 2)).astype(jnp.bfloat16)
    module = BatchNorm(momentum=0.0, dtype=jnp.bfloat16)
    variables = module.init(jax.random.key(0), x, train=True)
    y, state = module.apply(variables, x, train=True, mutable="batch_stats")
    assert y.dtype == jnp.bfloat16
    exact = np.asarray(x, np.float64)
    close(state["batch_stats"]["mean"], exact.mean((0, 1, 2)), 1e-3)
    close(state["batch_stats"]["var"], exact.var((0, 1, 2)), 1e-3)


def test_running_statistics_keep_their_dtype_for_wider_images() -> None:
    variables = BatchNorm().init(jax.random.key(0), jnp.zeros((1, 2)), train=False)
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2)))
        y, state = BatchNorm().apply(variables, x, train=True, mutable="batch_stats")
    assert y.dtype == jnp.float64
    assert {leaf.dtype for leaf in jax.tree.leaves(state)} == {jnp.dtype("float32")}


def test_the_batchs_moments_lie_where_they_are_asked_for() -> None:
    x = 5 + 3 * normals(0, 40, 2, 3, 4)
    variables = BatchNorm().init(jax.random.key(0), x, train=True)
    both = ["batch_stats", MOMENTS]
    _, state = BatchNorm().apply(variables, x, train=True, mutable=both)
    assert set(state) == set(both)
    close(state[MOMENTS]["mean"], np.asarray(x).mean((0, 1, 2)), 1e-5)
    close(state[MOMENTS]["var"], np.asarray(x).var((0, 1, 2)), 1e-4)  # the biased one
    close(state["batch_stats"]["mean"], 0.1 * state[MOMENTS]["mean"], 1e-6)
    close(state["batch_stats"]["var"], 0.9 + 0.1 * state[MOMENTS]["var"], 1e-6)


def test_moments_are_made_neither_by_init_nor_unasked_nor_in_evaluation() -> None:
    x = normals(0, 4, 2)
    variables = BatchNorm().init(jax.random.key(0), x, train=True)
    assert set(variables) == {"params", "batch_stats"}
    _, state = BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])
    assert set(state) == {"batch_stats"}
    _, state = BatchNorm().apply(variables, x, train=False, mutable=["batch_stats", MOMENTS])
    assert not state.get(MOMENTS)


# Group normalisation


@pytest.mark.parametrize(("channels", "groups"), [(6, 6), (32, 32), (64, 32)])
def test_there_are_32_groups_or_as_many_as_channels(channels: int, groups: int) -> None:
    x = normals(0, 2, 3, 3, channels)
    got, variables = norm("group").init_with_output(jax.random.key(0), x, True)
    np.testing.assert_array_equal(got, GroupNorm(groups).apply(variables, x))
    parts = np.asarray(got).reshape(2, 9, groups, -1)
    close(parts.mean((1, 3)), np.zeros((2, groups)), 1e-5)
    close(parts.std((1, 3)), np.ones((2, groups)), 1e-3)


@pytest.mark.parametrize("kind", ["layer", "group", "instance"])
def test_an_example_is_normalised_whatever_stands_beside_it_in_training_as_in_evaluation(
    kind: str,
) -> None:
    x = normals(0, 3, 2, 2, 4)
    module = norm(kind, groups=2)
    whole = module.apply(variables_of(module, x, train=True), x, train=True)
    alone = module.apply(variables_of(module, x, train=True), x[1:2], train=False)
    close(alone, whole[1:2], 1e-6)


def test_group_norm_of_bfloat16_computes_in_float32() -> None:
    x = (20 + normals(0, 2, 16, 16, 4)).astype(jnp.bfloat16)
    module = norm("instance", dtype=jnp.bfloat16)
    y, variables = module.init_with_output(jax.random.key(0), x, True)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    exact = np.asarray(x, np.float64)
    expected = (exact - exact.mean((1, 2), keepdims=True)) / exact.std((1, 2), keepdims=True)
    close(np.asarray(y, np.float64), expected, 1e-2)


def test_an_empty_batch_stays_empty() -> None:
    x = jnp.zeros((0, 2, 2, 4))
    y, _ = norm("layer").init_with_output(jax.random.key(0), x, True)
    assert y.shape == x.shape


@pytest.mark.parametrize(
    ("module", "shape", "message"),
    [
        (norm("group"), (1, 4, 4, 48), "48 channels .* must divide into 32 groups"),
        (norm("group", groups=0), (1, 4, 4, 48), "48 channels .* must divide into 0 groups"),
        (norm("instance"), (5, 1, 1, 8), "8 groups of more than one number"),
        (norm("instance"), (5, 8), "8 groups of more than one number"),
        (norm("layer"), (5, 1), "1 groups of more than one number"),
    ],
)
def test_groups_that_do_not_fit_are_refused(module: Any, shape: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module.init(jax.random.key(0), jnp.zeros(shape), True)


# The choice


def test_no_norm_passes_its_input_and_has_no_parameters() -> None:
    x = normals(0, 2, 3)
    y, variables = norm("none").init_with_output(jax.random.key(0), x, True)
    np.testing.assert_array_equal(y, x)
    assert not variables


@pytest.mark.parametrize("kind", ["batch", "layer", "group", "instance"])
@pytest.mark.parametrize("left", ["use_scale", "use_bias"])
def test_scale_and_bias_can_be_left_out_and_the_name_set(kind: str, left: str) -> None:
    class Parent(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return norm(kind, name="own", groups=2, **{left: False})(x, True)

    x = jax.ShapeDtypeStruct((2, 3, 3, 4), jnp.float32)
    params = jax.eval_shape(Parent().init, jax.random.key(0), x)["params"]
    assert set(params["own"]) == {"scale", "bias"} - {left.removeprefix("use_")}
    assert {leaf.shape for leaf in jax.tree.leaves(params)} == {(4,)}


def test_an_unknown_norm_is_answered_with_the_nearest() -> None:
    message = (
        "unknown norm 'bach'. Did you mean 'batch'? Known: batch, layer, group, instance, none."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        norm("bach")
    for network in (models.resnet_cifar(depth=8, norm="bach"), models.mlp(norm="bach")):
        with pytest.raises(ValueError, match=re.escape(message)):
            jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["resnet_cifar", "mlp"])
def test_networks_run_with_every_norm_and_only_batch_norm_holds_statistics(
    family: str, kind: str, quick_jit: Callable[..., Any]
) -> None:
    if family == "mlp":
        network = models.mlp(3, widths=(64,), norm=kind)
    else:
        network = models.resnet_cifar(3, depth=8, width=2, norm=kind, shortcut="B")
    x = normals(0, 4, 8, 8, 1)

    if (family, kind) == ("mlp", "instance"):  # without places there is nothing to average over
        with pytest.raises(ValueError, match="more than one number each"):
            jax.eval_shape(network.init, jax.random.key(0), x)
        return
    shapes = jax.eval_shape(network.init, jax.random.key(0), x)
    variables = jax.tree.map(lambda leaf: normals(leaf.size, *leaf.shape) ** 2 / 3, shapes)

    @quick_jit
    def run(variables: Any, x: jax.Array) -> Any:
        y, state = network.apply(variables, x, train=True, mutable=["batch_stats"])
        return y, network.apply({**variables, **state}, x)

    trained, evaluated = run(variables, x)
    assert np.isfinite(trained).all() and np.isfinite(evaluated).all()
    assert set(variables) == {"params", "batch_stats"} - ({"batch_stats"} - {kind + "_stats"})
    names = {name for path in flatten_dict(variables["params"]) for name in path}
    assert any("norm" in name for name in names) == (kind != "none")
    assert np.allclose(trained, evaluated, rtol=1e-4) == (kind != "batch")


# Without normalisation: Fixup's scalars


def fixup_block(strides: int = 1, shortcut: Any = "A", **scalars: float) -> Any:
    """A block of 3 maps with random convolutions, and its variables with these scalars."""
    block = Block(3, strides, shortcut, norm="none")
    shapes = jax.eval_shape(block.init, jax.random.key(0), jnp.zeros((1, 4, 4, 3)))["params"]
    params = jax.tree.map(lambda leaf: normals(leaf.size, *leaf.shape) / 3, shapes)
    assert {name for name, value in params.items() if not isinstance(value, dict)} == {
        "bias1a",
        "bias1b",
        "bias2a",
        "bias2b",
        "scale",
    }
    scalars = {name: jnp.asarray(value) for name, value in scalars.items()}
    return block, {"params": {**params, **scalars}}


def test_a_fixup_block_of_scale_zero_is_the_identity_on_positive_input(
    quick_jit: Callable[..., Any],
) -> None:
    block, variables = fixup_block(scale=0.0, bias2b=0.0)
    x, run = normals(1, 2, 4, 4, 3) ** 2, quick_jit(block.apply)
    np.testing.assert_array_equal(run(variables, x), x)
    assert not np.allclose(run(fixup_block(bias2b=0.0)[1], x), x)


@pytest.mark.parametrize(("strides", "shortcut"), [(1, "A"), (2, "B")])
def test_a_fixup_block_has_its_scalars_where_the_paper_has_them(
    strides: int, shortcut: Any, quick_jit: Callable[..., Any]
) -> None:
    scalars = {"bias1a": 0.3, "bias1b": -0.2, "bias2a": 0.5, "bias2b": 0.7, "scale": -1.5}
    block, variables = fixup_block(strides, shortcut, **scalars)
    kernels = {k: v["kernel"] for k, v in variables["params"].items() if isinstance(v, dict)}
    x = normals(1, 2, 5, 5, 3)

    def conv(x: Any, name: str, strides: int = 1) -> Any:
        pad = kernels[name].shape[0] // 2
        return lax.conv_general_dilated(
            x,
            kernels[name],
            (strides, strides),
            [(pad, pad)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    def formula(x: Any) -> Any:
        y = jnp.maximum(conv(x + 0.3, "conv1", strides) - 0.2, 0)
        y = -1.5 * conv(y + 0.5, "conv2") + 0.7
        around = conv(x + 0.3, "projection", strides) if shortcut == "B" else x
        return jnp.maximum(y + around, 0)

    close(*quick_jit(lambda v, x: (block.apply(v, x), formula(x)))(variables, x), 1e-5)


@pytest.mark.parametrize("depth", [8, 20])
@pytest.mark.parametrize("shortcut", ["A", "B", "none"])
def test_a_net_without_norm_has_five_scalars_a_block_and_two_more(
    depth: int, shortcut: Any
) -> None:
    def parameters(kind: str) -> Any:
        network = models.resnet_cifar(depth=depth, norm=kind, shortcut=shortcut)
        images = jnp.zeros((1, 32, 32, 3))
        return flatten_dict(jax.eval_shape(network.init, jax.random.key(0), images)["params"])

    actual = parameters("none")
    blocks = 3 * (depth - 2) // 6
    scalars = [path for path, leaf in actual.items() if leaf.shape == ()]
    assert len(scalars) == 5 * blocks + 2
    assert {("stem", "bias"), ("head", "bias")} < set(scalars)
    others = {path: leaf.shape for path, leaf in actual.items() if leaf.shape != ()}
    norms = [path for path in parameters("batch") if path not in others]
    assert all("norm" in path[-2] for path in norms)
    assert len(norms) == 2 * (depth - 1 + 2 * (shortcut == "B"))
    shapes = {path: leaf.shape for path, leaf in parameters("batch").items() if path in others}
    assert shapes == others


def test_the_default_net_has_the_tree_that_it_always_had() -> None:
    block = {"conv1": {"kernel"}, "conv2": {"kernel"}} | {
        name: {"scale", "bias"} for name in ("norm1", "norm2")
    }
    network = models.resnet_cifar(depth=14)
    params = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 32, 32, 3)))["params"]
    assert jax.tree.map(lambda leaf: None, params, is_leaf=lambda x: not isinstance(x, dict)) == {
        "stem": {"conv": {"kernel": None}, "norm": {"scale": None, "bias": None}},
        **{
            f"stage{i}": {
                f"block{j}": {name: dict.fromkeys(leaves) for name, leaves in block.items()}
                for j in range(2)
            }
            for i in (1, 2, 3)
        },
        "head": {"classifier": {"dense": {"kernel": None, "bias": None}}},
    }


# AlexNet's normalisation across channels


def test_local_response_norm_and_its_gradient_are_pytorchs(
    assert_as_pytorch: Any, reference: Any
) -> None:
    """PyTorch divides alpha by the size; the script has undone that."""
    script, _ = reference("layers_torch")

    def layer(*options: Any) -> Any:
        return lambda x: local_response_norm(x, *options)

    x = script.normals(8, *script.RESPONSE_SHAPE)
    cases = script.RESPONSE.items()
    assert_as_pytorch("response", {case: (layer(*options), x) for case, options in cases})


def test_local_response_norm_is_the_papers_formula_with_its_constants() -> None:
    a = 30 * np.random.default_rng(0).normal(size=(2, 3, 8))  # [..., channels]
    b = np.zeros_like(a)
    for i in range(8):
        total = sum(a[..., j] ** 2 for j in range(max(0, i - 2), min(7, i + 2) + 1))
        b[..., i] = a[..., i] / (2 + 1e-4 * total) ** 0.75
    close(local_response_norm(jnp.asarray(a, jnp.float32)), b, 1e-5)


def test_local_response_norm_is_the_same_under_vmap_in_loops_and_in_16_bits(
    quick_jit: Callable[..., Any],
) -> None:
    x = normals(0, 3, 2, 4, 4, 6)

    def gradient(x: jax.Array) -> jax.Array:
        return jax.grad(lambda x: jnp.sum(jnp.sin(local_response_norm(x, alpha=0.5))))(x)

    expected, together, mapped = quick_jit(
        lambda x: (
            jnp.stack([gradient(part) for part in x]),
            jax.vmap(gradient)(x),
            lax.map(gradient, x),
        )
    )(x)
    close(together, expected, 1e-6)
    close(mapped, expected, 1e-6)
    short = local_response_norm(x.astype(jnp.bfloat16))
    assert short.dtype == jnp.bfloat16
    close(short.astype(jnp.float32), local_response_norm(x), 2e-2)
