"""Residual nets for ImageNet: published shapes and sizes, PyTorch's logits, the plain twins."""

import jax
import numpy as np
import pytest
from flax import traverse_util
from jax import numpy as jnp

from cnnlab.models.convolution import TooSmallError
from cnnlab.models.resnet import resnet

KEY = jax.random.key(0)


@pytest.mark.parametrize(
    ("depth", "expansion", "parameters"),
    [
        (18, 1, 11_689_512),
        (34, 1, 21_797_672),
        (50, 4, 25_557_032),
        (101, 4, 44_549_160),
        (152, 4, 60_192_808),
    ],
)
def test_shapes_and_size_are_as_published(row, depth, expansion, parameters):
    shapes, size = row(resnet(1000, depth=depth), (224, 224, 3))
    outputs = [(56 // 2**i, 56 // 2**i, 64 * 2**i * expansion) for i in range(4)]
    assert shapes == [(56, 56, 64), *outputs, (1000,)]
    assert size == parameters


@pytest.mark.parametrize(
    ("depth", "expansion", "parameters"), [(18, 1, 11_173_962), (50, 4, 23_520_842)]
)
def test_the_small_form_has_the_shapes_and_size_that_its_table_says(
    row, depth, expansion, parameters
):
    shapes, size = row(resnet(depth=depth, small=True), (32, 32, 3))
    outputs = [(32 // 2**i, 32 // 2**i, 64 * 2**i * expansion) for i in range(4)]
    assert shapes == [(32, 32, 64), *outputs, (10,)]
    assert size == parameters


@pytest.mark.parametrize("shortcut", ["A", "none"])
@pytest.mark.parametrize("depth", [18, 34, 50])
def test_without_projections_the_depth_is_the_number_of_weighted_layers(depth, shortcut):
    network = resnet(depth=depth, shortcut=shortcut, width=1)
    params = jax.eval_shape(network.init, KEY, jnp.zeros((1, 32, 32, 3)))["params"]
    kernels = [path for path in traverse_util.flatten_dict(params) if path[-1] == "kernel"]
    assert len(kernels) == depth


@pytest.mark.parametrize("stride_on", ["conv1", "conv2"])
def test_where_the_stride_stands_changes_no_parameter(stride_on):
    network = resnet(depth=50, blocks=(1, 1, 1, 1), width=2, stride_on=stride_on)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
    variables = jax.eval_shape(network.init, KEY, images)

    def inside(variables, images):
        _, state = network.apply(
            variables, images, capture_intermediates=True, mutable=["intermediates"]
        )
        return state["intermediates"]["stage2"]["block0"]

    block = jax.eval_shape(inside, variables, images)
    heights = [block[f"conv{i}"]["__call__"][0].shape[1] for i in (1, 2, 3)]
    assert heights == ([8, 8, 8] if stride_on == "conv1" else [16, 8, 8])
    other = resnet(depth=50, blocks=(1, 1, 1, 1), width=2)
    assert variables == jax.eval_shape(other.init, KEY, images)


@pytest.mark.parametrize(
    "case", ["18", "18/small", "18/A", "50", "50/published", "50/A", "50/plain"]
)
def test_logits_are_pytorchs(reference, quick_jit, case):
    script, numbers = reference("resnet_torch")
    options = {**script.CASES[case]}
    depth = 50 if options.pop("bottleneck") else 18
    with jax.enable_x64(True):
        tree = {path: jnp.asarray(value) for path, value in script.variables(case).items()}
        variables = traverse_util.unflatten_dict(tree, sep="/")
        network = resnet(
            script.CLASSES, depth=depth, width=script.WIDTH, dtype=jnp.float64, **options
        )
        logits = quick_jit(network.apply)(variables, jnp.asarray(script.images()))
    np.testing.assert_allclose(logits, numbers[case], rtol=1e-8)


@pytest.mark.parametrize("side", [1, 33])
def test_images_may_have_any_size(row, side):
    for small in (False, True):
        shapes, _ = row(resnet(depth=18, width=1, small=small), (side, side + 4, 1))
        assert shapes[-1] == (10,)


def test_no_images_are_answered_with_the_stage():
    with pytest.raises(TooSmallError, match="stage 'stem'"):
        jax.eval_shape(resnet(depth=18).init, KEY, jnp.zeros((1, 0, 8, 3)))


def test_without_normalisation_fixups_scalars_stand_in_its_place():
    network = resnet(depth=50, blocks=(1, 1, 1, 1), width=2, norm="none")
    variables = jax.eval_shape(network.init, KEY, jnp.zeros((1, 32, 32, 3)))
    assert set(variables) == {"params"}
    block = variables["params"]["stage1"]["block0"]
    scalars = {name for name, value in block.items() if not isinstance(value, dict)}
    assert scalars == {"scale", *(f"bias{i}{side}" for i in (1, 2, 3) for side in "ab")}
    assert set(variables["params"]["stem"]) == {"conv", "bias"}


def test_16_bits_stay_inside():
    network = resnet(depth=50, blocks=(1, 1, 1, 1), width=2, dtype=jnp.bfloat16)
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    logits, variables = jax.eval_shape(network.init_with_output, KEY, images)
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    inside = jax.eval_shape(lambda v, x: network.apply(v, x, stop="stage4"), variables, images)
    assert inside.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 20}, "depth must be one of 18, 34, 50, 101, 152, got 20"),
        ({"depth": 18, "blocks": (1, 1)}, r"blocks must be four numbers >= 1, got \(1, 1\)"),
        ({"depth": 18, "blocks": (1, 0, 1, 1)}, "blocks must be four numbers >= 1"),
        ({"depth": 18, "shortcut": "C"}, "shortcut must be .*got 'C'"),
        ({"depth": 50, "stride_on": "conv3"}, "stride_on must be .*got 'conv3'"),
        ({"depth": 18, "width": 0}, "width must be at least 1 map, got 0"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        resnet(**options)
