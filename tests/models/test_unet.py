"""U-Net: the published sizes, PyTorch's logits, and what its border rules say."""

import jax
import numpy as np
import pytest
from flax import traverse_util
from jax import numpy as jnp

from cnnlab.models.convolution import TooSmallError
from cnnlab.models.unet import unet


def shapes_of(network, shape, stop=None):
    """Of the variables, and of what the network gives for one image: nothing is computed."""
    images = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    return variables, jax.eval_shape(lambda v, x: network.apply(v, x, stop=stop), variables, images)


def count(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


# Published sizes

PUBLISHED = {
    "stem": (568, 568, 64),
    "stage1": (280, 280, 128),
    "stage2": (136, 136, 256),
    "stage3": (64, 64, 512),
    "stage4": (28, 28, 1024),
    "up1": (52, 52, 512),
    "up2": (100, 100, 256),
    "up3": (196, 196, 128),
    "up4": (388, 388, 64),
}


def test_the_published_network_has_the_published_shapes():
    """Ronneberger et al., 2015, figure 1."""
    network = unet(padding="VALID")
    images = jax.ShapeDtypeStruct((1, 572, 572, 1), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), images)
    x = images
    for name in network.names[:-1]:
        run = lambda v, x, name=name: network.apply(v, x, start=name, stop=name)  # noqa: E731
        x = jax.eval_shape(run, variables, x)
        assert x[0].shape[1:] == PUBLISHED[name]
    assert x[1] == ()
    logits = jax.eval_shape(lambda v, x: network.apply(v, x, start="head"), variables, x)
    assert logits.shape == (1, 388, 388, 2) and logits.dtype == jnp.float32


def test_it_has_as_many_parameters_as_pytorchs_layers(reference):
    _, numbers = reference("unet_torch")
    for classes in (1, 2):
        parameters = count(shapes_of(unet(classes), (64, 64, 1))[0])
        assert parameters == numbers["published"][f"1 to {classes}"]
    assert numbers["published"] == {"1 to 2": 31_030_658, "1 to 1": 31_030_593}


def test_both_ways_up_have_the_same_parameters():
    paths = [
        jax.tree.map(lambda leaf: leaf.shape, shapes_of(unet(width=4, up=up), (32, 32, 1))[0])
        for up in ("transposed", "resize")
    ]
    assert paths[0] == paths[1]


# Numbers


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
def test_the_logits_are_pytorchs(reference, quick_jit, padding):
    script, numbers = reference("unet_torch")
    network = unet(script.CLASSES, width=script.WIDTH, depth=script.DEPTH, padding=padding)
    with jax.enable_x64(True):
        tree = {path: jnp.asarray(value) for path, value in script.parameters().items()}
        params = traverse_util.unflatten_dict(tree, sep="/")
        logits = quick_jit(network.apply)({"params": params}, jnp.asarray(script.images(padding)))
    assert logits.dtype == jnp.float64
    np.testing.assert_allclose(logits, numbers[padding], rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def small(quick_jit):
    """A network with everything, its variables and images of an uneven size."""
    network = unet(3, width=2, depth=2, norm="batch", up="resize", activation="elu")
    images = jax.random.normal(jax.random.key(1), (2, 9, 7, 1))
    return network, quick_jit(network.init)(jax.random.key(0), images), images


def test_parts_after_each_other_are_the_whole(small, quick_jit):
    network, variables, images = small

    def whole_and_parts(variables, x):
        cuts = []
        for name in network.names[:-1]:
            features = network.apply(variables, x, stop=name)
            cuts.append(network.apply(variables, features, start=network.after(name)))
        return network.apply(variables, x), cuts

    whole, cuts = quick_jit(whole_and_parts)(variables, images)
    assert whole.shape == (2, 9, 7, 3)
    for cut in cuts:
        np.testing.assert_allclose(cut, whole, atol=1e-6)


def test_training_takes_the_batchs_statistics_and_reaches_every_parameter(small, quick_jit):
    network, variables, images = small

    def loss(params):
        out, state = network.apply(
            {**variables, "params": params}, images, train=True, mutable=["batch_stats"]
        )
        return jnp.sum(jnp.sin(out)), (out, state)

    run = quick_jit(jax.grad(loss, has_aux=True))
    gradients, (_, state) = run(variables["params"])
    before, after = (jax.tree.map(np.asarray, v["batch_stats"]) for v in (variables, state))
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: np.any(a != b), before, after)))
    reached = traverse_util.flatten_dict(jax.tree.map(lambda g: np.asarray(g).any(), gradients))
    assert all(reached.values()), [path for path, any_ in reached.items() if not any_]


def test_reduced_precision_computes_in_it_and_gives_float32():
    network = unet(3, width=2, depth=1, norm="batch", dtype=jnp.bfloat16)
    variables, (x, skips) = shapes_of(network, (8, 8, 1), stop="stage1")
    assert x.dtype == skips[0].dtype == jnp.bfloat16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    assert shapes_of(network, (8, 8, 1))[1].dtype == jnp.float32


def test_dropout_is_at_the_end_of_the_encoder():
    network = unet(width=2, depth=2, dropout=0.5)
    assert [getattr(stage, "dropout", 0) for _, stage in network.stages] == [0, 0, 0.5, 0, 0, 0]


# Borders


@pytest.mark.parametrize("size", [(4, 4), (5, 6), (7, 13)])
def test_same_padding_gives_a_logit_for_every_pixel_of_any_size(size):
    assert shapes_of(unet(3, width=1, depth=2), (*size, 1))[1].shape == (1, *size, 3)


def test_cropping_gives_as_many_logits_as_were_pooled():
    logits = shapes_of(unet(3, width=1, depth=2, border="crop"), (7, 13, 1))[1]
    assert logits.shape == (1, 4, 12, 3)


@pytest.mark.parametrize(("border", "expected"), [("pad", [1, 1, 1, 1, 0]), ("crop", [2] * 4)])
def test_a_border_is_padded_or_cropped_on_the_right_first(quick_jit, border, expected):
    """Five pixels in a row, of which pooling drops the last: ones come up, the skip is ones."""
    network = unet(1, width=1, depth=1, border=border, up="resize")
    variables, _ = shapes_of(network, (5, 5, 1))
    params = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), variables)["params"]
    up = params["up1"]
    up["up"]["kernel"] = up["up"]["kernel"].at[0, 0, 0].set(1)
    kernel = up["conv1"]["kernel"].at[1, 1, 1].set(1)  # what came up
    kernel = kernel.at[1, 1, 0].set(1 if border == "crop" else 0)  # the skip
    up["conv1"]["kernel"] = kernel
    up["conv2"]["kernel"] = up["conv2"]["kernel"].at[1, 1].set(1)
    x, skips = jnp.ones((1, 2, 2, 2)), (jnp.ones((1, 5, 5, 1)),)
    up1 = quick_jit(lambda p, x: network.apply({"params": p}, x, start="up1", stop="up1"))
    y, rest = up1(params, (x, skips))
    assert rest == ()
    np.testing.assert_array_equal(y[0, 0, :, 0], expected)


def test_images_that_vanish_are_refused_with_the_stage():
    with pytest.raises(TooSmallError, match="stage2"):
        shapes_of(unet(width=1, depth=2), (3, 9, 1))
    with pytest.raises(TooSmallError, match="stage1"):
        shapes_of(unet(width=1, depth=1, padding="VALID"), (9, 9, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "valid"}, "unknown padding 'valid'. Did you mean 'VALID'"),
        ({"up": "transpose"}, "unknown up 'transpose'. Did you mean 'transposed'"),
        ({"border": "corp"}, "unknown border 'corp'. Did you mean 'crop'"),
        ({"norm": "bach"}, "unknown norm 'bach'. Did you mean 'batch'"),
        ({"activation": "reul"}, "unknown activation 'reul'. Did you mean 'relu'"),
        ({"depth": 0}, "must be at least 1, got 64 and 0"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        unet(**options)
