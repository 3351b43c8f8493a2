"""VGG: published shapes and sizes, PyTorch's logits, and the form for small images."""

import jax
import numpy as np
import pytest
from flax import traverse_util
from jax import numpy as jnp

from cnnlab.models.convolution import TooSmallError
from cnnlab.models.vgg import vgg, vgg_small

KEY = jax.random.key(0)


PUBLISHED = [
    (112, 112, 64),
    (56, 56, 128),
    (28, 28, 256),
    (14, 14, 512),
    (7, 7, 512),
    (4096,),
    (4096,),
    (1000,),
]


@pytest.mark.parametrize(
    ("depth", "plain", "normed"),
    [
        (11, 132_863_336, 132_868_840),
        (13, 133_047_848, 133_053_736),
        (16, 138_357_544, 138_365_992),
        (19, 143_667_240, 143_678_248),
    ],
)
def test_shapes_and_size_are_as_published(row, depth, plain, normed):
    assert row(vgg(1000, depth=depth), (224, 224, 3)) == (PUBLISHED, plain)
    assert row(vgg(1000, depth=depth, norm="batch"), (224, 224, 3)) == (PUBLISHED, normed)


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_the_depth_is_the_number_of_weighted_layers(depth):
    for network in (
        vgg(depth=depth, width=1, hidden=(2, 2)),
        vgg_small(depth=depth, hidden=(2, 2)),
    ):
        params = jax.eval_shape(network.init, KEY, jnp.zeros((1, 32, 32, 3)))["params"]
        kernels = [path for path in traverse_util.flatten_dict(params) if path[-1] == "kernel"]
        assert len(kernels) == depth


@pytest.mark.parametrize(
    ("depth", "parameters"), [(11, 9_231_114), (13, 9_416_010), (16, 14_728_266), (19, 20_040_522)]
)
def test_the_small_form_has_the_size_that_its_table_says(row, depth, parameters):
    shapes, size = row(vgg_small(depth=depth), (32, 32, 3))
    assert shapes == [(16, 16, 64), (8, 8, 128), (4, 4, 256), (2, 2, 512), (1, 1, 512), (10,)]
    assert size == parameters


def test_a_dense_layer_in_the_small_form_costs_what_its_docstring_says(row):
    shapes, size = row(vgg_small(depth=11, hidden=(512,)), (32, 32, 3))
    assert shapes[5:] == [(512,), (10,)]
    assert size == 9_231_114 + 262_656


def test_the_small_form_takes_other_sizes_with_the_same_parameters():
    network = vgg_small(3, depth=11, width=2)
    variables = [
        jax.eval_shape(network.init, KEY, jnp.zeros((1, *size, 1)))
        for size in ((32, 32), (33, 75), (224, 224))
    ]
    assert variables[0] == variables[1] == variables[2]


def test_dense_layers_fix_the_size():
    network = vgg(3, depth=11, width=2, hidden=(4, 4))
    variables = jax.eval_shape(network.init, KEY, jnp.zeros((1, 32, 32, 1)))
    with pytest.raises(ValueError, match=r"stage5/dense .*kernel \(16, 4\).*\(64, 4\)"):
        jax.eval_shape(network.apply, variables, jnp.zeros((1, 64, 64, 1)))


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_logits_are_pytorchs(reference, quick_jit, norm):
    script, numbers = reference("vgg_torch")
    with jax.enable_x64(True):
        tree = {path: jnp.asarray(value) for path, value in script.variables(norm).items()}
        variables = traverse_util.unflatten_dict(tree, sep="/")
        network = vgg(
            script.CLASSES,
            depth=11,
            norm=norm,
            width=script.WIDTH,
            hidden=script.HIDDEN,
            dtype=jnp.float64,
        )
        logits = quick_jit(network.apply)(variables, jnp.asarray(script.images()))
    np.testing.assert_allclose(logits, numbers[norm], rtol=1e-9)


def test_dropout_is_in_the_dense_stages_only(quick_jit):
    network = vgg(3, depth=11, width=1, hidden=(64, 64))
    images = jnp.ones((1, 32, 32, 1))
    variables = jax.eval_shape(network.init, KEY, images)
    # The blocks ask for no random numbers.
    jax.eval_shape(lambda v: network.apply(v, images, train=True, stop="stage4"), variables)

    @quick_jit
    def both(x):
        stage = network.stages[6][1]
        units, variables = stage.init_with_output(KEY, x)
        rngs = {"dropout": jax.random.key(1)}
        return units, stage.apply(variables, x, train=True, rngs=rngs)

    generator = np.random.Generator(np.random.PCG64(0))
    units, dropped = both(generator.standard_normal((1, 64)).astype(np.float32))
    kept = dropped != 0
    assert 0 < kept.sum() < (units > 0).sum()
    np.testing.assert_allclose(dropped[kept], 2 * units[kept], rtol=1e-6)


def test_images_too_small_are_answered_with_the_stage():
    with pytest.raises(TooSmallError, match="stage 'stage4'"):
        jax.eval_shape(vgg(depth=11).init, KEY, jnp.zeros((1, 31, 32, 3)))
    with pytest.raises(TooSmallError, match="stage 'stem'"):
        jax.eval_shape(vgg_small(depth=11).init, KEY, jnp.zeros((1, 1, 32, 3)))


def test_16_bits_stay_inside():
    network = vgg(depth=11, width=1, hidden=(2,), norm="batch", dtype=jnp.bfloat16)
    images = jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32)
    logits, variables = jax.eval_shape(network.init_with_output, KEY, images)
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    inside = jax.eval_shape(lambda v, x: network.apply(v, x, stop="stage5"), variables, images)
    assert inside.dtype == jnp.bfloat16


@pytest.mark.parametrize("make", [vgg, vgg_small])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 12}, "depth must be one of 11, 13, 16, 19, got 12"),
        ({"depth": 11, "width": 0}, "width must be at least 1 map, got 0"),
    ],
)
def test_invalid_options_are_refused(make, options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)
