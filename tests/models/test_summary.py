"""The table of a network against closed forms and counts made by hand."""

import importlib

import flax.linen as nn
import jax
import pytest
from jax import numpy as jnp

from cnnlab import models
from cnnlab.models.layers import Conv, ConvTranspose
from cnnlab.models.norms import norm
from cnnlab.models.pooling import average_pool, max_pool

summary = importlib.import_module("cnnlab.models.summary")  # the function has the same name


def column(table, name):
    return [getattr(stage, name) for stage in table.stages]


@pytest.fixture(scope="module")
def lenet():
    return models.summary(models.lenet5(), (28, 28, 1))


@pytest.fixture(scope="module")
def resnet8():
    return models.summary(models.create("resnet8", width=2), (40, 32, 3))


# Whole networks


def test_lenet_is_counted_as_by_hand(lenet):
    assert column(lenet, "name") == ["stem", "stage1", "stage2", "stage3", "head"]
    assert column(lenet, "output_shape") == [(14, 14, 6), (5, 5, 16), (120,), (84,), (10,)]
    assert column(lenet, "parameters") == [156, 2_416, 48_120, 10_164, 850]
    assert column(lenet, "multiply_adds") == [
        28 * 28 * 6 * 25,
        10 * 10 * 16 * 25 * 6,
        400 * 120,
        120 * 84,
        84 * 10,
    ]
    assert lenet.parameters == 61_706 and lenet.multiply_adds == 416_520


def test_lenets_receptive_fields_are_those_of_the_closed_form(lenet):
    """5 + 1 for the first pooling, 4 x 2 + 2 more for the second, then the whole image."""
    assert column(lenet, "receptive_field") == [(6, 6), (16, 16), (28, 28), (28, 28), (28, 28)]


def test_a_residual_nets_receptive_fields_are_those_of_the_closed_form(resnet8):
    """Each 3 x 3 convolution adds 2 pixels of its input: 1, 2 or 4 pixels of the image each."""
    fields = [3, 3 + 4, 3 + 4 + 2 + 4, 3 + 4 + 2 + 4 + 4 + 8]
    assert column(resnet8, "receptive_field") == [*((f, f) for f in fields), (40, 32)]


def test_a_residual_nets_shapes_halve(resnet8):
    shapes = [(40, 32, 2), (40, 32, 2), (20, 16, 4), (10, 8, 8), (10,)]
    assert column(resnet8, "output_shape") == shapes


@pytest.mark.parametrize(("depth", "published"), [(20, 40.55e6), (56, 125.49e6)])
def test_multiply_adds_of_residual_nets_are_those_of_the_closed_form(depth, published):
    """40.6 M and 125.5 M are what counters of other frameworks give for 32 x 32 x 3."""
    n = (depth - 2) // 6
    same = 9 * 16 * 16 * 32 * 32  # equal in all stages: half the side, twice the maps
    closed = 9 * 3 * 16 * 32 * 32 + 2 * n * same + 2 * ((2 * n - 1) * same + same // 2) + 640
    network = models.create(f"resnet{depth}")
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    counted = models.multiply_adds(network.apply, variables, images)
    assert counted == closed
    assert abs(counted - published) < 0.01e6


def test_flattening_alone_looks_at_one_pixel_and_a_dense_layer_at_all():
    table = models.summary(models.mlp(3, widths=(5,)), (4, 6, 1))
    assert column(table, "receptive_field") == [(1, 1), (4, 6), (4, 6)]
    assert column(table, "parameters") == [0, 24 * 5 + 5, 5 * 3 + 3]
    assert column(table, "multiply_adds") == [0, 24 * 5, 5 * 3]


def test_reduced_precision_and_unusual_depth_have_the_same_table(resnet8):
    short = models.create("resnet8", width=2, dtype=jnp.bfloat16)
    assert models.summary(short, (40, 32, 3)) == resnet8


# Networks at their published size


def fields(network, image_shape):
    table = models.summary(network, image_shape)
    return {stage.name: stage.receptive_field[0] for stage in table.stages}


def test_the_receptive_field_of_vgg16_is_the_published_one():
    """212 before the dense layers: Araujo, Norris and Sim, Distill 2019, table of networks."""
    sides = fields(models.create("vgg16", 1000), (224, 224, 3))
    assert list(sides.values()) == [6, 16, 44, 100, 212, 224, 224, 224]


def test_the_receptive_field_of_alexnet_is_the_published_one():
    """195 after the last pooling (Distill 2019)."""
    sides = fields(models.create("alexnet", 1000), (227, 227, 3))
    assert list(sides.values()) == [11, 51, 99, 131, 163, 195, 227, 227, 227]


def test_the_receptive_field_of_resnet50_is_the_published_one():
    """483 before the head with the stride on the 1 x 1 convolution, as published (Distill 2019)."""
    sides = fields(models.create("resnet50", 1000, stride_on="conv1"), (544, 544, 3))
    assert list(sides.values()) == [11, 35, 99, 291, 483, 544]


def test_the_receptive_field_of_a_u_net_at_full_size_is_that_of_the_closed_form():
    """140 at the bottom; every level up adds two convolutions, and lands between its neighbours."""
    network = models.create("unet", padding="VALID")
    sides = fields(network, (572, 572, 1))
    assert [sides[f"stage{i}"] for i in range(1, 5)] == [14, 32, 68, 140]
    assert [sides[f"up{i}"] for i in range(1, 5)] == [172, 188, 188, 188]


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_images_that_are_no_squares_have_fields_of_both_sides(shortcut):
    table = models.summary(models.create("resnet8", width=4, shortcut=shortcut), (12, 40, 3))
    assert column(table, "receptive_field") == [(3, 3), (7, 7), (12, 13), (12, 25), (12, 40)]


def test_trained_coefficients_let_pixels_through():
    """LeNet's subsampling multiplies by one; Fixup's scalars are biases and multipliers."""
    table = models.summary(models.lenet5_1998(), (28, 28, 1))
    assert [field for field, _ in column(table, "receptive_field")] == [6, 16, 28, 28, 28]
    table = models.summary(models.create("resnet8", width=2, norm="none"), (40, 40, 3))
    assert [field for field, _ in column(table, "receptive_field")] == [3, 7, 13, 25, 40]


def test_what_travels_beside_the_activations_goes_on():
    tied = models.summary(models.dense_autoencoder(widths=(6, 3)), (4, 5, 1))
    assert column(tied, "output_shape") == [(20,), (6,), (3,), (6,), (20,), (4, 5, 1)]
    assert column(tied, "receptive_field") == [(1, 1), *[(4, 5)] * 5]


def test_images_that_are_too_small_are_refused_with_the_stage():
    with pytest.raises(models.TooSmallError, match="stage 'stage5'"):
        models.summary(models.create("alexnet"), (59, 67, 3))


# Receptive fields of single stages


class Stage(nn.Module):
    """One layer as a stage, after a convolution of one pixel."""

    layer: object

    @nn.compact
    def __call__(self, x, *, train=False):
        return self.layer(Conv(2, (1, 1))(x))


@pytest.mark.parametrize(
    ("layer", "field"),
    [
        (Conv(2, (3, 5)), (3, 5)),
        (Conv(2, (1, 1), strides=2), (1, 1)),
        (lambda x: max_pool(x, 2), (2, 2)),
        (lambda x: max_pool(x, 3, 2, 1), (3, 3)),
        (lambda x: average_pool(x, (2, 4)), (2, 4)),
        (lambda x: x.mean((1, 2)), (9, 12)),
        (lambda x: norm("group")(x), (9, 12)),
        (lambda x: norm("batch")(x, False), (1, 1)),
        (ConvTranspose(2, 4, 2, 1), (2, 2)),
        (nn.relu, (1, 1)),
        (jnp.zeros_like, (0, 0)),
    ],
)
def test_the_receptive_field_of_one_layer_is_its_window(layer, field):
    table = models.summary(models.Network((("stem", Stage(layer)),)), (9, 12, 1))
    assert column(table, "receptive_field") == [field]


@pytest.mark.parametrize("length", [3, 60])
def test_the_receptive_field_of_many_small_convolutions_is_exact(length):
    layers = nn.Sequential([Conv(2, (3, 1)) for _ in range(length)])
    table = models.summary(models.Network((("stem", Stage(layers)),)), (2 * length + 5, 2, 1))
    assert column(table, "receptive_field") == [(2 * length + 1, 1)]


# Counting


@pytest.mark.parametrize(
    ("function", "shapes", "count"),
    [
        (lambda a, b: a @ b, [(3, 4), (4, 5)], 60),
        (lambda a, b: jnp.einsum("bij,bjk->bik", a, b), [(2, 3, 4), (2, 4, 5)], 120),
        (jax.jit(lambda a, b: jnp.tanh(a @ b)), [(3, 4), (4, 5)], 60),
        (
            lambda a, b: jax.lax.scan(lambda c, _: (c @ b, None), a, None, 7)[0],
            [(3, 4), (4, 4)],
            336,
        ),
        (lambda a, b: jax.lax.map(lambda row: row @ b, a), [(3, 4), (4, 5)], 60),
        (
            lambda a, b: jax.lax.cond(a[0, 0] > 0, lambda: a @ b @ b.T, lambda: a),
            [(3, 4), (4, 5)],
            120,
        ),
        (jax.vmap(lambda a, b: a @ b), [(2, 3, 4), (2, 4, 5)], 120),
        (lambda a, b: a + b, [(3, 4), (3, 4)], 0),
    ],
)
def test_matrix_products_are_counted_wherever_they_stand(function, shapes, count):
    args = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    assert models.multiply_adds(function, *args) == count


@pytest.mark.parametrize(
    ("layer", "count"),
    [
        (Conv(6, (3, 3)), 8 * 8 * 6 * 9 * 4),
        (Conv(6, (3, 3), strides=2, padding=1), 4 * 4 * 6 * 9 * 4),
        (Conv(6, (3, 3), padding="VALID"), 6 * 6 * 6 * 9 * 4),
        (Conv(6, (3, 3), groups=2), 8 * 8 * 6 * 9 * 2),
        (Conv(4, (3, 3), groups=4), 8 * 8 * 4 * 9),
    ],
)
def test_convolutions_are_counted_by_output_and_kernel(layer, count):
    images = jax.ShapeDtypeStruct((1, 8, 8, 4), jnp.float32)
    variables = jax.eval_shape(layer.init, jax.random.key(0), images)
    assert models.multiply_adds(layer.apply, variables, images) == count


@pytest.mark.parametrize("longer", ["cpu", "default"])
def test_the_shorter_way_counts_where_the_platform_decides(longer):
    """Ways to the same result: what one platform does on top is not the network's."""

    def function(a, b):
        ways = {"cpu": lambda: a @ b, "default": lambda: a @ b, longer: lambda: a @ b @ b.T @ b}
        return jax.lax.platform_dependent(**ways)

    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((3, 4), (4, 5))]
    assert models.multiply_adds(function, *shapes) == 60


# Text


def test_the_table_reads_well():
    table = models.summary(models.mlp(3, widths=(500,)), (4, 6, 1))
    assert str(table).splitlines() == [
        "stage      output  parameters  multiply-adds  receptive field",
        "input   4 x 6 x 1",
        "stem           24           0              0            1 x 1",
        "stage1        500      12,500         12,000            4 x 6",
        "head            3       1,503          1,500            4 x 6",
        "total                  14,003         13,500",
    ]
