"""AlexNet: published shapes and sizes, PyTorch's logits, dropout, and what does not fit."""

import re

import jax
import numpy as np
import pytest
from flax import traverse_util
from jax import numpy as jnp

from cnnlab.models.alexnet import alexnet, alexnet_small
from cnnlab.models.convolution import TooSmallError

KEY = jax.random.key(0)
TORCHVISION = {"widths": (64, 192, 384, 256, 256), "norm": "none", "stem_padding": 2}


PUBLISHED = [
    (55, 55, 96),
    (27, 27, 256),
    (13, 13, 384),
    (13, 13, 384),
    (13, 13, 256),
    (6, 6, 256),
    (4096,),
    (4096,),
    (1000,),
]


@pytest.mark.parametrize(("groups", "parameters"), [(1, 62_378_344), (2, 60_965_224)])
def test_shapes_and_size_are_as_published(row, groups, parameters):
    assert row(alexnet(1000, groups=groups), (227, 227, 3)) == (PUBLISHED, parameters)


def test_torchvisions_form_has_its_shapes_and_size(row):
    shapes, parameters = row(alexnet(1000, **TORCHVISION), (224, 224, 3))
    assert shapes[:6] == [
        (55, 55, 64),
        (27, 27, 192),
        (13, 13, 384),
        (13, 13, 256),
        (13, 13, 256),
        (6, 6, 256),
    ]
    assert parameters == 61_100_840


def test_the_small_form_has_the_shapes_and_size_that_its_table_says(row):
    shapes, parameters = row(alexnet_small(), (32, 32, 3))
    assert shapes == [
        (32, 32, 64),
        (15, 15, 192),
        (7, 7, 384),
        (7, 7, 256),
        (7, 7, 256),
        (3, 3, 256),
        (1024,),
        (1024,),
        (10,),
    ]
    assert parameters == 5_871_434


@pytest.mark.parametrize(
    ("network", "side", "stage"), [(alexnet(), 67, "stage5"), (alexnet_small(), 15, "stage5")]
)
def test_the_least_size_works_and_one_pixel_less_names_the_stage(row, network, side, stage):
    shapes, _ = row(network, (side, side + 9, 1))
    assert shapes[5][0] == 1 and shapes[-1] == (10,)
    with pytest.raises(TooSmallError, match=f"stage '{stage}'"):
        jax.eval_shape(network.init, KEY, jnp.zeros((1, side - 1, side, 1)))


@pytest.mark.parametrize("case", ["columns", "one", "torchvision"])
def test_logits_are_pytorchs(reference, quick_jit, case):
    script, numbers = reference("alexnet_torch")
    options = {name: value for name, value in script.CASES[case].items() if name != "size"}
    with jax.enable_x64(True):
        tree = {path: jnp.asarray(value) for path, value in script.variables(case).items()}
        variables = traverse_util.unflatten_dict(tree, sep="/")
        network = alexnet(
            script.CLASSES,
            widths=script.WIDTHS,
            hidden=script.HIDDEN,
            dtype=jnp.float64,
            **options,
        )
        logits = quick_jit(network.apply)(variables, jnp.asarray(script.images(case)))
    np.testing.assert_allclose(logits, numbers[case], rtol=1e-9)


def test_dropout_doubles_half_of_the_dense_units_in_training_and_none_in_evaluation(quick_jit):
    network = alexnet_small(widths=(2, 2, 2, 2, 2), hidden=(2000, 3))
    images = jnp.ones((1, 15, 15, 1))
    variables = jax.eval_shape(network.init, KEY, images)
    # The convolutions ask for no random numbers.
    jax.eval_shape(lambda v: network.apply(v, images, train=True, stop="stage5"), variables)

    @quick_jit
    def both(x):
        stage = network.stages[6][1]
        units, variables = stage.init_with_output(KEY, x)
        rngs = {"dropout": jax.random.key(1)}
        return units, stage.apply(variables, x, train=True, rngs=rngs)

    generator = np.random.Generator(np.random.PCG64(0))
    units, dropped = map(np.asarray, both(generator.standard_normal((1, 2)).astype(np.float32)))
    awake = units > 0
    kept = dropped[awake] != 0
    assert abs(kept.mean() - 0.5) < 4 * 0.5 / np.sqrt(awake.sum())
    np.testing.assert_allclose(dropped[awake][kept], 2 * units[awake][kept], rtol=1e-6)


def test_other_norms_stand_at_every_convolution():
    network = alexnet(norm="batch", widths=(4, 4, 4, 4, 4), hidden=(2, 2))
    variables = jax.eval_shape(network.init, KEY, jnp.zeros((1, 67, 67, 3)))
    normed = [name for name in network.names if "norm" in variables["params"].get(name, {})]
    assert normed == ["stem", "stage1", "stage2", "stage3", "stage4"]
    assert set(variables["batch_stats"]) == set(normed)


def test_16_bits_stay_inside():
    network = alexnet_small(widths=(2, 2, 2, 2, 2), hidden=(3, 3), dtype=jnp.bfloat16)
    images = jax.ShapeDtypeStruct((1, 15, 15, 1), jnp.float32)
    logits, variables = jax.eval_shape(network.init_with_output, KEY, images)
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    inside = jax.eval_shape(lambda v, x: network.apply(v, x, stop="stage7"), variables, images)
    assert inside.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"widths": (8, 8)}, "must have 5 widths"),
        ({"hidden": (8,)}, r"2 hidden ones.*hidden=\(8,\)"),
        ({"groups": 3}, "divide every width, got groups=3"),
        ({"groups": 0}, "groups must be at least 1"),
    ],
)
def test_invalid_options_are_refused(options, message):
    for make in (alexnet, alexnet_small):
        with pytest.raises(ValueError, match=message):
            make(**options)


def test_an_unknown_norm_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=re.escape("unknown norm 'batchh'")):
        jax.eval_shape(alexnet(norm="batchh").init, KEY, jnp.zeros((1, 67, 67, 3)))
