"""SqueezeNet: the paper's table layer by layer, PyTorch's logits, and what does not fit."""

import jax
import numpy as np
import pytest
from flax import traverse_util
from jax import numpy as jnp

from cnnlab.models.convolution import TooSmallError
from cnnlab.models.squeezenet import squeezenet

KEY = jax.random.key(0)


TABLE = {
    "stem/conv": (111, 111, 96),
    "stem": (55, 55, 96),
    "stage1/fire2": (55, 55, 128),
    "stage1/fire3": (55, 55, 128),
    "stage1/fire4": (55, 55, 256),
    "stage1": (27, 27, 256),
    "stage2/fire5": (27, 27, 256),
    "stage2/fire6": (27, 27, 384),
    "stage2/fire7": (27, 27, 384),
    "stage2/fire8": (27, 27, 512),
    "stage2": (13, 13, 512),
    "stage3/fire9": (13, 13, 512),
    "head/conv": (13, 13, 1000),
    "head": (1000,),
}

# Weights and biases of each layer, from the table's columns of maps.
PARAMETERS = {
    "stem": 14_208,
    "stage1/fire2": 11_920,
    "stage1/fire3": 12_432,
    "stage1/fire4": 45_344,
    "stage2/fire5": 49_440,
    "stage2/fire6": 104_880,
    "stage2/fire7": 111_024,
    "stage2/fire8": 188_992,
    "stage3/fire9": 197_184,
    "head": 513_000,
}


def test_every_layer_has_the_published_shape_and_size(made):
    params, shapes = made(squeezenet(1000), (227, 227, 3))
    assert {path: shapes[path] for path in TABLE} == TABLE

    def size(path):
        tree = params
        for part in path.split("/"):
            tree = tree[part]
        return sum(leaf.size for leaf in jax.tree.leaves(tree))

    assert {path: size(path) for path in PARAMETERS} == PARAMETERS
    assert sum(PARAMETERS.values()) == 1_248_424
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 1_248_424


def test_224_pixels_and_the_released_padding_have_the_sizes_that_are_known(made):
    _, shapes = made(squeezenet(1000, head_padding=1), (224, 224, 3))
    assert shapes["stem/conv"] == (109, 109, 96)
    assert shapes["stem"] == (54, 54, 96)
    assert shapes["stage1"] == (27, 27, 256)
    assert shapes["head/conv"] == (15, 15, 1000)


@pytest.mark.parametrize("padding", [0, 1])
def test_logits_are_pytorchs(reference, quick_jit, padding):
    script, numbers = reference("squeezenet_torch")
    with jax.enable_x64(True):
        tree = {path: jnp.asarray(value) for path, value in script.variables().items()}
        variables = traverse_util.unflatten_dict(tree, sep="/")
        network = squeezenet(script.CLASSES, head_padding=padding, dtype=jnp.float64)
        logits = quick_jit(network.apply)(variables, jnp.asarray(script.images()))
    np.testing.assert_allclose(logits, numbers[str(padding)], rtol=1e-9, atol=1e-12)


def test_the_papers_metaparameters_make_the_widths(made):
    """Section 5.1: e_i = base + incr * floor(i / freq), squeezed by SR, a share of it 3 x 3."""
    options = {"base": 16, "increment": 8, "frequency": 3, "squeeze_ratio": 0.25}
    params, _ = made(squeezenet(4, stem_width=5, share_3x3=0.75, **options), (64, 64, 1))
    fires = {**params["stage1"], **params["stage2"], **params["stage3"]}
    for i, expanded in enumerate((16, 16, 16, 24, 24, 24, 32, 32)):
        fire = fires[f"fire{i + 2}"]
        widths = [fire[name]["bias"].size for name in ("squeeze", "expand1", "expand3")]
        assert widths == [expanded // 4, expanded // 4, expanded * 3 // 4]
    assert params["stem"]["conv"]["kernel"].shape == (7, 7, 1, 5)


def test_the_least_size_works_and_one_pixel_less_names_the_stage(made):
    network = squeezenet()
    _, shapes = made(network, (21, 40, 1))
    assert shapes["stage3"][0] == 1
    with pytest.raises(TooSmallError, match="stage 'stage2'"):
        jax.eval_shape(network.init, KEY, jnp.zeros((1, 20, 40, 1)))


def test_only_the_head_drops_and_half_of_its_inputs(quick_jit):
    network = squeezenet(1, stem_width=2, base=8, increment=0)
    images = jnp.ones((1, 21, 21, 1))
    variables = jax.eval_shape(network.init, KEY, images)
    # The other stages ask for no random numbers.
    jax.eval_shape(lambda v: network.apply(v, images, train=True, stop="stage3"), variables)

    ones = {
        "params": {"head": {"conv": {"kernel": jnp.ones((1, 1, 500, 1)), "bias": jnp.zeros(1)}}}
    }
    features = jnp.ones((1, 2, 3, 500))

    @quick_jit
    def both(variables, x):
        rngs = {"dropout": jax.random.key(1)}
        still = network.apply(variables, x, start="head")
        return still, network.apply(variables, x, start="head", train=True, rngs=rngs)

    still, moved = both(ones, features)
    assert still == 500
    assert moved != 500 and abs(moved - 500) < 4 * 500 / np.sqrt(3000)


def test_16_bits_stay_inside():
    network = squeezenet(stem_width=2, base=8, increment=0, dtype=jnp.bfloat16)
    images = jax.ShapeDtypeStruct((1, 30, 30, 1), jnp.float32)
    logits, variables = jax.eval_shape(network.init_with_output, KEY, images)
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    inside = jax.eval_shape(lambda v, x: network.apply(v, x, stop="stage3"), variables, images)
    assert inside.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    "options", [{"squeeze_ratio": 0.001}, {"share_3x3": 1.0}, {"base": 0, "increment": 8}]
)
def test_fire_modules_without_maps_are_refused(options):
    with pytest.raises(ValueError, match=r"every fire module must have maps.*fire2 would have"):
        squeezenet(**options)
