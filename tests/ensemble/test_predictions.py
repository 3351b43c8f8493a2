"""Predictions of many views and of thinned networks, against ``predict`` and closed forms."""

import dataclasses
import itertools

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest
from jax import numpy as jnp

from cnnlab import augment, models, train
from cnnlab.augment import views
from cnnlab.data.dataset import Dataset
from cnnlab.ensemble.predictions import _DropoutNetwork, dropout_logits, view_logits
from cnnlab.models import Network, multiply_adds
from cnnlab.models.dropout import Dropout
from cnnlab.models.perceptron import Classifier, Hidden
from cnnlab.train import step
from cnnlab.train.state import state_shapes

CLASSES = ("a", "b", "c")


def make_dataset(examples, shape=(4, 4, 1)):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (examples, *shape), dtype=np.uint8)
    return Dataset(images, generator.integers(0, 3, examples, dtype=np.int32), CLASSES, "made")


def make_states(recipe, members, shape=(4, 4, 1)):
    """Members with noise on every leaf, so that statistics and averages are their own."""
    generator = np.random.default_rng(1)

    shapes = state_shapes(recipe, shape)
    leaves, tree = jax.tree_util.tree_flatten_with_path(shapes)
    noisy = []
    for path, leaf in leaves:
        noise = generator.normal(size=(members, *leaf.shape))
        positive = "var" in jax.tree_util.keystr(path)
        noisy.append(jnp.asarray(0.5 + abs(noise) if positive else 0.5 * noise, leaf.dtype))
    return jax.tree.unflatten(tree, noisy)


def make_recipe(network, **options):
    return train.Recipe(network, optax.sgd(0.1), augment.normalize((128.0,), (64.0,)), **options)


DATASET = make_dataset(13)
BATCHNORM = make_recipe(models.create("mlp", 3, widths=(6, 5), norm="batch", dropout=0.5))


@pytest.fixture(scope="module")
def states():
    return make_states(BATCHNORM, 2)


@pytest.fixture(scope="module")
def sampled(states):
    return dropout_logits(BATCHNORM, states, DATASET, 5, seed=3, batch_size=8)


class UnknownModule(nn.Module):
    """A stage of Flax's own layers: their dropout, and a dense layer that checks nothing."""

    @nn.compact
    def __call__(self, x, *, train=False):
        dropped = nn.Dropout(0.25)(x.reshape(x.shape[0], -1), deterministic=not train)
        return nn.Dense(3)(dropped)


class Dropped(nn.Module):
    """Drops inputs: followed by a linear layer, the mean and the variance are known."""

    rate: float
    form: str = "inverted"

    @nn.compact
    def __call__(self, x, *, train=False):
        return Dropout(self.rate, self.form)(x.reshape(x.shape[0], -1), train)


def test_the_view_of_the_images_themselves_is_predict(states):
    got = view_logits(BATCHNORM, states, DATASET, views.identity(), batch_size=8)
    assert got.shape == (2, 1, 13, 3) and got.dtype == np.float32
    want = train.predict(BATCHNORM, states, DATASET, batch_size=8)
    np.testing.assert_allclose(got[:, 0], want, rtol=1e-5, atol=1e-5)


def test_views_are_predict_on_the_images_changed_by_hand(states):
    made = views.product(views.shifts(1), views.mirror())
    got = view_logits(BATCHNORM, states, DATASET, made, batch_size=8)
    assert got.shape == (2, 10, 13, 3)
    mirrored = dataclasses.replace(DATASET, images=DATASET.images[:, :, ::-1])
    down = dataclasses.replace(DATASET, images=DATASET.images[:, [0, 0, 1, 2]])
    for name, changed in (("mirror", mirrored), ("down 1", down)):
        want = train.predict(BATCHNORM, states, changed, batch_size=8)
        at = made.names.index(name)
        np.testing.assert_allclose(got[:, at], want, rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_batch_may_go_in_parts_that_fit_a_cache(monkeypatch, states, sampled):
    wide = make_dataset(16, (5, 6, 1))
    corner = dataclasses.replace(wide, images=wide.images[:, 1:, 2:])
    want = train.predict(BATCHNORM, states, corner)
    monkeypatch.setattr(step, "CACHE_BYTES", 1)  # of eight examples each
    twice = DATASET.take(np.tile(np.arange(8), 2))
    crops = view_logits(BATCHNORM, states, wide, views.ten_crop(4))
    np.testing.assert_allclose(crops[:, 3], want, rtol=1e-5, atol=1e-5)
    parts = dropout_logits(BATCHNORM, states, twice, 5, seed=3)
    np.testing.assert_allclose(
        parts, np.tile(sampled[:, :, :8], (1, 1, 2, 1)), rtol=1e-5, atol=1e-5
    )


def test_a_sample_is_one_thinned_network_for_all_examples():
    network = Network((("stem", Hidden(4)), ("drop", Dropped(0.25)), ("head", Classifier(3))))
    recipe = make_recipe(network)
    states = make_states(recipe, 1)
    got = dropout_logits(recipe, states, DATASET, 400, batch_size=13)[0]
    params = jax.tree.map(lambda leaf: np.asarray(leaf[0], np.float64), states.params)
    pixels = (DATASET.images.reshape(13, -1) - 128.0) / 64
    hidden = params["stem"]["dense"], params["head"]["dense"]
    units = np.maximum(pixels @ hidden[0]["kernel"] + hidden[0]["bias"], 0)
    masks = np.asarray(list(itertools.product((0, 1), repeat=4)))
    thinned = (units * masks[:, None] / 0.75) @ hidden[1]["kernel"] + hidden[1]["bias"]
    distance = abs(got[:, None] - thinned).max((2, 3))  # [S, 16]
    assert distance.min(1).max() < 1e-4
    kept = masks[distance.argmin(1)]
    np.testing.assert_allclose(kept.mean(0), 0.75, atol=5 * np.sqrt(0.25 * 0.75 / 400))
    assert abs(np.corrcoef(kept.T) - np.eye(4)).max() < 5 / np.sqrt(400)


@pytest.mark.parametrize("form", ["inverted", "plain"])
def test_the_mean_over_samples_of_a_linear_network_is_the_network_itself(form):
    rate, samples = 0.3, 2000
    recipe = make_recipe(Network((("stem", Dropped(rate, form)), ("head", Classifier(3)))))
    states = make_states(recipe, 1)
    got = dropout_logits(recipe, states, DATASET, samples, seed=1)[0].astype(np.float64)
    kernel = np.asarray(states.params["head"]["dense"]["kernel"][0], np.float64)
    pixels = (DATASET.images.reshape(13, -1) - 128.0) / 64
    scale = rate / (1 - rate) if form == "inverted" else rate * (1 - rate)
    variance = scale * pixels**2 @ kernel**2
    mean = train.predict(recipe, states, DATASET)[0]
    assert abs((got.mean(0) - mean) / np.sqrt(variance / samples)).max() < 5
    np.testing.assert_allclose(got.var(0), variance, rtol=0.2)


def test_samples_are_those_of_their_seed_and_differ(states, sampled):
    assert sampled.shape == (2, 5, 13, 3) and sampled.dtype == np.float32
    assert (sampled.std(axis=1) > 0).any(axis=-1).all()
    again = dropout_logits(BATCHNORM, states, DATASET, 5, seed=3, batch_size=8)
    np.testing.assert_array_equal(again, sampled)
    other = dropout_logits(BATCHNORM, states, DATASET, 5, seed=4, batch_size=8)
    assert not np.isclose(other, sampled).all(axis=(0, 2, 3)).any()


def test_a_sample_does_not_depend_on_other_predictions(states, sampled):
    """Neither on the batch (BatchNorm is in evaluation) nor on members or later samples."""
    some = np.asarray([7, 2, 12])
    alone = jax.tree.map(lambda leaf: leaf[1:], states)
    got = dropout_logits(BATCHNORM, alone, DATASET.take(some), 2, seed=3, batch_size=2)
    np.testing.assert_allclose(got[0], sampled[1, :2, some].swapaxes(0, 1), rtol=1e-4, atol=1e-5)


def test_dropout_of_next_to_nothing_is_predict_with_the_moving_average():
    network = models.create("mlp", 3, widths=(6,), norm="batch", dropout=1e-7)
    recipe = make_recipe(network, ema_decay=0.9)
    states = make_states(recipe, 1)
    got = dropout_logits(recipe, states, DATASET, 1)[:, 0]
    np.testing.assert_allclose(got, train.predict(recipe, states, DATASET), rtol=1e-4, atol=1e-5)
    plain = train.predict(recipe, states._replace(average=None), DATASET)
    assert not np.allclose(got, plain, atol=1e-2)


def test_the_dropout_of_flax_is_sampled_from_and_its_errors_are_value_errors():
    """Of linear networks: every sample is the logits of the inputs times 0 or 1 / (1 - rate)."""
    recipe = make_recipe(Network((("head", UnknownModule()),)))
    states = make_states(recipe, 1)
    black = dataclasses.replace(DATASET, images=np.zeros_like(DATASET.images))  # inputs of -2
    got = dropout_logits(recipe, states, black, 300, batch_size=13)[0, :, 0]
    params = jax.tree.map(lambda leaf: np.asarray(leaf[0], np.float64), states.params)
    kernel, bias = (params["head"]["Dense_0"][name] for name in ("kernel", "bias"))
    variance = 4 * (kernel**2).sum(0) * 0.25 / 0.75
    wanted = -2 * kernel.sum(0) + bias
    assert (abs(got.mean(0) - wanted) < 5 * np.sqrt(variance / 300)).all()
    np.testing.assert_allclose(got.var(0), variance, rtol=0.4)
    with pytest.raises(ValueError, match="of a size that the network takes"):
        view_logits(recipe, states, DATASET, views.ten_crop(3))


def test_stages_before_the_first_dropout_run_once():
    network = Network((("stem", Hidden(64)), ("drop", Dropped(0.5)), ("head", Classifier(3))))
    thinned = _DropoutNetwork(network.stages, "drop", 20, 0)
    state = jax.tree.map(lambda x: x[0], make_states(make_recipe(network), 1))
    image = jnp.zeros((1, 4, 4, 1))
    cost = multiply_adds(lambda x: thinned.apply({"params": state.params}, x, train=False), image)
    assert cost == 16 * 64 + 20 * 64 * 3


DEVICES = """
import json
import jax
import numpy as np
import sys
sys.path.insert(0, "tests/ensemble")
import test_predictions as here
from cnnlab.mesh import make_mesh

states = here.make_states(here.BATCHNORM, 2)
mesh = make_mesh(2, member_axis=2)
seen = here.view_logits(
    here.BATCHNORM, states, here.DATASET, here.views.mirror(), batch_size=8, mesh=mesh
)
dropped = here.dropout_logits(
    here.BATCHNORM, states, here.DATASET, 5, seed=3, batch_size=8, mesh=mesh
)
print(json.dumps([len(jax.devices()), seen.tolist(), dropped.tolist()]))
"""


def test_several_devices_predict_as_one_does(run_on_devices, states, sampled):
    seen = view_logits(BATCHNORM, states, DATASET, views.mirror(), batch_size=8)
    count, views_there, samples_there = run_on_devices(4, DEVICES)
    assert count == 4
    np.testing.assert_allclose(views_there, seen, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(samples_there, sampled, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mlp", "linear", "resnet8"])
def test_a_network_without_dropout_is_refused(name):
    recipe = make_recipe(models.create(name, 3))
    shapes = state_shapes(recipe, (4, 4, 1))
    states = jax.tree.map(lambda leaf: jnp.zeros((1, *leaf.shape), leaf.dtype), shapes)
    with pytest.raises(ValueError, match=r"Dropout with a rate above 0.*stem.*Create the model"):
        dropout_logits(recipe, states, DATASET, 2)


def test_invalid_predictions_are_refused(states):
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        dropout_logits(BATCHNORM, states, DATASET, 0)
    with pytest.raises(ValueError, match="as large as the crops of 5 x 5"):
        view_logits(BATCHNORM, states, DATASET, views.ten_crop(5))
    with pytest.raises(ValueError, match=r"made for 16 inputs.*got an input \(13, 9\)"):
        view_logits(BATCHNORM, states, DATASET, views.ten_crop(3))
    with pytest.raises(ValueError, match="leading axis"):
        view_logits(BATCHNORM, train.member(states, 0), DATASET, views.mirror())
