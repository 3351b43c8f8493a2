"""Every network of the zoo, made narrow: a training step, parts, members, bfloat16, a table."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import augment, models, optim, train
from cnnlab.data.batches import Batch
from cnnlab.keys import run_key
from cnnlab.models.network import activations

BATCH = 4
NARROW = {
    "mlp": {"widths": (8,)},
    "alexnet": {"widths": (4, 4, 6, 6, 4), "hidden": (8, 8)},
    "alexnet_torchvision": {"hidden": (8, 8)},
    "alexnet_small": {"widths": (4, 4, 6, 6, 4), "hidden": (8, 8)},
    "squeezenet": {"stem_width": 8, "base": 16, "increment": 8},
    "airbench94": {"widths": (2, 4, 4)},
    "unet": {"width": 2, "depth": 2},
    "conv_autoencoder": {"channels": 3, "widths": (2, 4)},
    "dense_autoencoder": {"channels": 3, "widths": (8, 4)},
}
# What no other entry differs from in anything but depth goes through the whole test; the rest is
# run by name, for it takes minutes to compile.
QUICK = (
    *("linear", "mlp", "lenet5", "alexnet_small", "vgg11_small", "resnet8", "squeezenet"),
    *("airbench94", "unet", "conv_autoencoder", "dense_autoencoder"),
)


def narrow(name, **overrides):
    options = models.options(name)
    small = {**NARROW.get(name, {}), **overrides}
    if "width" in options:
        small.setdefault("width", 2)
    if name.startswith("vgg") and not name.endswith("_small"):
        small["hidden"] = (8, 8)
    if name == "resnet50":  # those run by name have all their blocks
        small["blocks"] = (1, 1, 1, 1)
    return models.create(name, None if "channels" in options else 3, **small)


def image_shape(name):
    return (67, 67, 3) if name in ("alexnet", "alexnet_torchvision") else (32, 32, 3)


def pixels(name):
    generator = np.random.Generator(np.random.PCG64(0))
    return generator.integers(0, 256, (BATCH, *image_shape(name)), dtype=np.uint8)


def finite(tree):
    return all(np.isfinite(np.asarray(leaf, np.float32)).all() for leaf in jax.tree.leaves(tree))


def moved(before, after):
    """The share of the leaves that are not as they were."""
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    return np.mean([not np.array_equal(a, b) for a, b in pairs])


def recipe_of(network):
    prepare = augment.normalize((128.0,) * 3, (64.0,) * 3)
    return train.Recipe(network, optim.sgd(0.01, weight_decay=5e-4), prepare)


def step_of_a_classifier(network, state, images):
    """One update as users make it: the library's step."""
    labels = jnp.arange(BATCH, dtype=jnp.int32) % 3
    batch = Batch(images, labels, jnp.ones(BATCH))
    state, sums = train.train_step(recipe_of(network), state, batch, run_key(0))
    return state.params, state.model_state, sums.loss


def step_of_an_image_network(network, state, images):
    """One update of a network that gives images, against the sum of its squares."""
    recipe = recipe_of(network)
    x = recipe.prepare(run_key(0), images)

    def loss(params):
        y = network.apply({"params": params, **state.model_state}, x, train=True)
        return jnp.mean(jnp.square(y - 0.5))

    value, gradients = jax.value_and_grad(loss)(state.params)
    updates, _ = recipe.optimizer.update(gradients, state.opt_state, state.params)
    return jax.tree.map(jnp.add, state.params, updates), state.model_state, value


@pytest.mark.parametrize(
    "name",
    [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in models.names()],
)
def test_a_network_of_the_zoo_trains_runs_in_parts_and_as_members(name, quick_jit):
    network, half = narrow(name), narrow(name, dtype=jnp.bfloat16)
    classifies = "channels" not in models.options(name) and name != "unet"
    step = step_of_a_classifier if classifies else step_of_an_image_network
    recipe = recipe_of(network)

    @quick_jit
    def everything(images):
        state = train.init_state(recipe, run_key(0), image_shape(name))
        variables = {"params": state.params, **state.model_state}
        x = recipe.prepare(run_key(0), images)
        parts = x
        for stage in network.names:
            parts = network.apply(variables, parts, start=stage, stop=stage)
        two = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), variables)
        return {
            "state": state,
            "parts": parts,
            "members": jax.vmap(network.apply, (0, None))(two, x),
            "bfloat16": half.apply(variables, x),
            "step": step(network, state, images),
        }

    results = everything(pixels(name))
    whole, other = results["members"]
    assert whole.shape == ((BATCH, 3) if classifies else (BATCH, *image_shape(name)))
    assert whole.dtype == results["bfloat16"].dtype == jnp.float32
    np.testing.assert_allclose(results["parts"], whole, rtol=1e-4, atol=1e-4)
    # A linear network starts at zero, whatever it is multiplied by.
    assert finite(other) and (name == "linear" or not np.array_equal(other, whole))
    scale = np.abs(whole).max() + 1e-3
    np.testing.assert_allclose(
        results["bfloat16"], whole, atol=0.2 * scale
    )  # eight bits, 50 layers

    params, model_state, loss = results["step"]
    assert finite((params, model_state, loss))
    # After a dead ReLU of so narrow a network, some layers may get no gradient.
    assert moved(results["state"].params, params) >= 0.5
    assert "params" not in model_state
    if model_state and classifies:
        assert moved(results["state"].model_state, model_state) == 1


@pytest.mark.parametrize("name", models.names())
def test_a_network_of_the_zoo_has_the_shapes_it_says(name):
    network = models.create(name, None if "channels" in models.options(name) else 7)
    channels = models.options(name).get("channels", 3)
    images = jax.ShapeDtypeStruct((2, *image_shape(name)[:2], channels), jnp.float32)
    out, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
    images_out = {"unet": (2, 32, 32, 7), "linear": (2, 7)}
    shape = images_out.get(name, images.shape if "channels" in models.options(name) else (2, 7))
    assert activations(out).shape == shape and out.dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(variables))
    assert set(variables["params"]) <= set(network.names)


@pytest.mark.parametrize("name", QUICK)
def test_a_summary_of_a_network_of_the_zoo_renders(name):
    table = models.summary(narrow(name), image_shape(name))
    lines = str(table).splitlines()
    assert len(lines) == len(table.stages) + 3
    assert f"{table.parameters:,}" in lines[-1] and table.multiply_adds > 0
    assert all(min(stage.receptive_field) >= 1 for stage in table.stages)
