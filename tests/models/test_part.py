"""Modules in a stage that are frozen one by one, in every family."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from jax import numpy as jnp

from cnnlab import models
from cnnlab.models.dropout import Dropout

COMPOSED = {
    "lenet5": {"norm": "batch"},
    "mlp": {"norm": "batch", "dropout": 0.5, "widths": (6, 5)},
    "alexnet_small": {"norm": "batch", "widths": (4,) * 5, "hidden": (4, 4)},
    "vgg11_small": {"width": 2, "hidden": (4,)},
    "resnet8": {"width": 2, "shortcut": "B"},
    "resnet18": {"width": 2, "blocks": (1, 1, 1, 2)},
    "resnet50": {"width": 2, "small": True, "blocks": (1, 1, 1, 2)},
    "airbench94": {"widths": (4, 5)},
    "unet": {"width": 2, "depth": 2, "norm": "batch", "dropout": 0.5},
    "conv_autoencoder": {"norm": "batch", "widths": (2, 3)},
}


@pytest.mark.parametrize("name", COMPOSED)
def test_every_norm_of_every_family_can_be_frozen_for_itself(name, quick_jit):
    network = models.create(name, **COMPOSED[name])
    images = np.random.default_rng(0).normal(size=(3, 32, 32, 1)).astype(np.float32)
    variables = quick_jit(network.init)(jax.random.key(0), images)
    norms = sorted({path[:-1] for path in flatten_dict(variables["batch_stats"])})
    halves = norms[::2], norms[1::2]

    @quick_jit
    def statistics(variables, images):
        options = {"mutable": ["batch_stats"], "rngs": {"dropout": jax.random.key(0)}}
        return [
            network.apply(
                variables, images, train=True, frozen=tuple(map("/".join, half)), **options
            )[1]
            for half in halves
        ]

    old = flatten_dict(variables["batch_stats"])
    for frozen, state in zip(halves, statistics(variables, images), strict=True):
        new = flatten_dict(state["batch_stats"])
        moved = {path[:-1] for path in old if not np.array_equal(old[path], new[path])}
        assert moved == set(norms) - set(frozen)


@pytest.mark.parametrize(
    ("name", "options", "frozen"),
    [
        ("mlp", {"dropout": 0.5}, ("stage1/dropout", "stage2/dropout")),
        ("unet", {"width": 2, "depth": 1, "dropout": 0.5}, ("stage1/Dropout_0",)),
        ("squeezenet", {"base": 8, "increment": 8}, ("head/Dropout_0", "stage1/fire2")),
        ("resnet8", {"width": 2, "norm": "none"}, ("head/classifier",)),
    ],
)
def test_dropout_and_a_head_within_a_head_can_be_frozen(name, options, frozen, quick_jit):
    network = models.create(name, **options)
    images = jnp.ones((2, 32, 32, 1))
    variables = quick_jit(network.init)(jax.random.key(0), images)

    @quick_jit
    def both(variables, images):  # without random numbers: nothing drops
        trained = network.apply(variables, images, train=True, frozen=frozen)
        return trained, network.apply(variables, images)

    np.testing.assert_array_equal(*both(variables, images))


class Dropping(nn.Module):
    """A stage that drops half."""

    @nn.compact
    def __call__(self, x, *, train=False):
        return Dropout(0.5)(x, train)


def test_a_network_within_a_network_is_frozen_by_its_own_names():
    row = models.Network((("inner", models.Network((("stem", Dropping()), ("head", Dropping())))),))
    rngs, x = {"dropout": jax.random.key(0)}, jnp.ones((4, 50))
    half = row.apply({}, x, train=True, frozen=("inner/head",), rngs=rngs)
    assert set(np.asarray(half).flat) == {0, 2}


def test_frozen_dropout_in_a_plain_stage_is_refused():
    row = models.Network((("stem", Dropping()),))
    with pytest.raises(ValueError, match="stem/Dropout_0 is frozen and may drop units"):
        row.apply({}, jnp.ones((4, 50)), train=True, frozen=("stem/Dropout_0",))
    assert row.apply({}, jnp.ones((4, 50)), frozen=("stem/Dropout_0",)).all()  # in evaluation
