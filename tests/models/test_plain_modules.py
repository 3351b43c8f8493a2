"""Linen modules that know nothing of this package, as networks of one stage."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import models, transfer
from cnnlab.models import registry
from cnnlab.models.stage_calls import mode_arguments


class Plain(nn.Module):
    classes: int = 3

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.classes)(nn.relu(nn.Conv(4, (3, 3))(x)).mean((1, 2)))


class Full(nn.Module):
    num_classes: int = 3
    width: int = 4

    @nn.compact
    def __call__(self, x, train):
        x = nn.Conv(self.width, (3, 3))(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x)).mean((1, 2))
        return nn.Dense(self.num_classes)(nn.Dropout(0.5, deterministic=not train)(x))


class TwoInputs(nn.Module):
    @nn.compact
    def __call__(self, x, y):
        return nn.Dense(3)(x + y)


class AlwaysStatistics(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.BatchNorm(use_running_average=False)(x).mean((1, 2)))


class AlwaysDrops(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.Dropout(0.5, deterministic=False)(x).mean((1, 2)))


class OwnNoise(nn.Module):
    @nn.compact
    def __call__(self, x, training=False):
        x = nn.Dense(3)(x.mean((1, 2)))
        return x + jax.random.normal(self.make_rng("noise"), x.shape) if training else x


class WithField(nn.Module):
    field: object

    @nn.compact
    def __call__(self, x):
        return nn.Dense(self.field[0])(x.mean((1, 2)))


IMAGES = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype(np.float32)
KEY = jax.random.key(0)


def test_it_computes_what_the_module_computes():
    network = models.as_network(Full())
    assert models.as_network(network) is network and network.names == ("network",)
    assert network == models.as_network(Full()) and network != models.as_network(Full(width=5))
    variables = network.init(KEY, IMAGES)
    own = {kind: tree["network"] for kind, tree in variables.items()}
    wanted = Full().apply(own, IMAGES, train=False)
    np.testing.assert_array_equal(network.apply(variables, IMAGES), wanted)
    keys = {"dropout": jax.random.key(1)}
    logits, changed = network.apply(
        variables, IMAGES, train=True, mutable=["batch_stats"], rngs=keys
    )
    statistics = nn.Conv(4, (3, 3)).apply({"params": own["params"]["Conv_0"]}, IMAGES)
    mean = changed["batch_stats"]["network"]["BatchNorm_0"]["mean"]
    np.testing.assert_allclose(mean, 0.01 * statistics.mean((0, 1, 2)), rtol=1e-4, atol=1e-7)
    assert np.abs(logits - wanted).max() > 0.01
    frozen, changed = network.apply(
        variables, IMAGES, train=True, mutable=["batch_stats"], rngs=keys, frozen=("network",)
    )
    np.testing.assert_array_equal(frozen, wanted)


@pytest.mark.parametrize(
    ("module", "wanted"),
    [
        (Full(), {"train": True}),
        (OwnNoise(), {"training": True}),
        (Plain(), {}),
        (nn.Dropout(0.5), {"deterministic": False}),
        (nn.Dropout(0.5, deterministic=True), {}),  # it says so itself
        (nn.BatchNorm(), {"use_running_average": False}),
        (nn.Sequential([nn.Conv(2, (3, 3))]), {}),
    ],
)
def test_a_module_is_told_whether_it_trains_by_its_own_argument(module, wanted):
    assert mode_arguments(module, True) == wanted
    assert mode_arguments(module, False) == {name: not value for name, value in wanted.items()}


def test_layers_of_flax_are_stages_and_lists_are_no_hindrance():
    network = models.Network(
        (
            ("stem", nn.Sequential([nn.Conv(4, (3, 3)), nn.relu])),
            ("norm", nn.BatchNorm()),
            ("drop", nn.Dropout(0.5)),
            ("head", Plain()),
        )
    )
    shapes = jax.eval_shape(network.init, KEY, IMAGES)
    assert set(shapes["params"]) == {"stem", "norm", "head"}
    assert hash(models.as_network(network))
    layers = [nn.Conv(4, (3, 3)), nn.relu, lambda x: x.mean((1, 2)), nn.Dense(3)]
    row = models.as_network(nn.Sequential(layers))
    assert hash(row) == hash(models.as_network(nn.Sequential(layers)))
    own = row.init(KEY, IMAGES)
    wanted = nn.Sequential(layers).apply({"params": own["params"]["network"]}, IMAGES)
    np.testing.assert_array_equal(row.apply(own, IMAGES), wanted)
    assert hash(models.as_network(WithField([3, {"a": [1]}])))


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (Plain, r"Flax Linen module.*got the class Plain: make one, Plain\(\)"),
        (lambda x: x, "Flax Linen module.*got <function"),
        (TwoInputs(), r"TwoInputs must be callable as module\(images\).*takes \(x, y\)"),
        (WithField(np.zeros(2)), "fields of WithField must have a hash"),
    ],
)
def test_what_cannot_be_a_network_is_refused_in_a_line(module, message):
    with pytest.raises(ValueError, match=message):
        models.as_network(module)


def test_what_belongs_to_training_is_refused_in_evaluation():
    with pytest.raises(ValueError, match="AlwaysStatistics has batch statistics.*takes no train"):
        models.as_network(AlwaysStatistics()).init(KEY, IMAGES)
    network = models.as_network(AlwaysDrops())
    with pytest.raises(ValueError, match=r"AlwaysDrops .*random numbers in evaluation.*train=Fal"):
        network.apply(network.init(KEY, IMAGES), IMAGES)
    network = models.as_network(OwnNoise())
    with pytest.raises(ValueError, match="stream 'dropout' only: .*PRNG for \"noise\""):
        network.apply(network.init(KEY, IMAGES), IMAGES, train=True, rngs={"dropout": KEY})


def test_the_parts_of_the_package_take_it_or_say_what_to_do():
    row = models.as_network(Full())
    assert models.summary(Full(), (8, 8, 1)) == models.summary(row, (8, 8, 1))
    he = models.init.create("he")
    own, of_row = he(Full(), KEY, IMAGES), he(row, KEY, IMAGES)
    assert jax.tree.map(jnp.shape, own) == {
        kind: jax.tree.map(jnp.shape, tree["network"]) for kind, tree in of_row.items()
    }
    assert len(models.weights.export(Full(), own, (8, 8, 1), platforms=("cpu",))) > 1000
    for network in (Full(), row):
        with pytest.raises(ValueError, match=r"A plain module is one stage: .*patterns.*Network\("):
            transfer.freeze(network, depth=1)
    with pytest.raises(ValueError, match="last stage.*A plain module is one stage"):
        row.tail("network")
    with pytest.raises(transfer.SurgeryError, match="'head'.*A plain module is one stage"):
        transfer.copy_variables(of_row, of_row)
    fresh = ("network/Dense_0/.*",)
    assert len(transfer.copy_variables(of_row, of_row, reinitialise=fresh)[1].fresh) == 2


def test_a_family_of_ones_own_may_be_a_modules_class(monkeypatch):
    monkeypatch.setattr(registry, "_MAKERS", dict(registry._MAKERS))
    models.register("full", Full)
    assert models.options("full") == {"width": 4}
    assert models.create("full", 5, width=2) == models.as_network(Full(5, width=2))
    with pytest.raises(ValueError, match="unknown option of model 'full': 'parent'"):
        models.create("full", 5, parent=None)
    with pytest.raises(ValueError, match="first argument of this one is classes"):
        models.register("plain", Plain)
