"""Activation and gradient statistics: the lecture's numbers, and gradients by their definition."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import models
from cnnlab.diagnose import activations, distinct_units
from cnnlab.diagnose.activations import values
from cnnlab.losses import softmax_cross_entropy
from cnnlab.models import Network, init
from cnnlab.models.perceptron import Classifier, Flatten, Hidden


def lecture_stds(quick_jit, start, activation, depth=10, width=500, examples=1000):
    """Deviations of the lecture's hidden layers after the activation, over three seeds."""
    network = models.mlp(10, widths=(width,) * depth, activation=activation)

    def one(seed):
        images = jax.random.normal(jax.random.key(100 + seed), (examples, 1, width, 1))
        variables = start(network, jax.random.key(seed), images)
        layers = activations(network, variables, images)
        return jnp.stack([layer.reads.std for layer in layers[1:]])

    return np.asarray(quick_jit(lambda seeds: jax.lax.map(one, seeds))(jnp.arange(3)))


LECTURE = {
    # CS231n's notebook: hidden layers 1 to 10 on 1000 x 500 unit Gaussian inputs.
    "gaussian": [0.213081, 0.047551, 0.010630, 0.002378, 0.000532, 0.000119, 0.000026],
    "glorot": [0.627953, 0.486051, 0.407723, 0.357108, 0.320917, 0.292116, 0.273387, 0.254935],
}


@pytest.mark.parametrize("name", LECTURE)
def test_the_lectures_ten_tanh_layers(quick_jit, name):
    # The lecture's Glorot draws normal numbers of variance 1 / fan_in, which is the same here.
    stds = lecture_stds(quick_jit, init.create(name), "tanh")
    published = LECTURE[name]
    # Its digits end at 1e-6; a layer of 500 wanders by a per cent or two, and more with depth.
    measured = stds.mean(0)[: len(published)]
    np.testing.assert_allclose(measured, published, rtol=0.03, atol=6e-7)
    if name == "gaussian":
        assert (stds[:, -1] < 5e-7).all()  # printed as 0.000000


def test_he_keeps_the_activations_of_relu_layers(quick_jit):
    # After ReLU sqrt(1 - 1 / pi) = 0.826; the lecture's ten layers lie between 0.81 and 0.89.
    stds = lecture_stds(quick_jit, init.create("he"), "relu")
    assert stds[:, 0] == pytest.approx(np.sqrt(1 - 1 / np.pi), rel=0.02)
    assert (stds.mean(0) > 0.72).all() and (stds.mean(0) < 0.95).all()
    glorot = lecture_stds(quick_jit, init.create("glorot"), "relu")
    assert glorot[:, -1] == pytest.approx(stds[:, 0] * 0.5**5, rel=0.25)  # half the variance each


def test_statistics_of_numbers():
    x = jnp.asarray([[0.0, 1.0, 0.0, 0.94], [0.0, -3.0, 0.96, -0.94]])
    statistics = values(x, bins=4)
    assert statistics.mean == pytest.approx(float(x.mean()))
    assert statistics.std == pytest.approx(float(x.std()))
    assert statistics.zeros == pytest.approx(3 / 8)
    assert statistics.dead == pytest.approx(1 / 4)
    assert statistics.saturated == pytest.approx(3 / 8)
    counts, edges = np.histogram(np.asarray(x), bins=4)
    np.testing.assert_array_equal(statistics.counts, counts)
    np.testing.assert_allclose(statistics.edges, edges)
    same = values(jnp.full((3, 2), 5.0), bins=4)
    assert same.std == 0 and same.counts.sum() == 6


IMAGES = jax.random.normal(jax.random.key(1), (7, 4, 4, 1))
LABELS = jnp.arange(7) % 3


def test_gradients_are_those_of_their_definition(quick_jit):
    network = models.mlp(3, widths=(6, 5), activation="tanh")
    variables = quick_jit(network.init)(jax.random.key(2), IMAGES)
    params = variables["params"]
    layers = quick_jit(lambda v: activations(network, v, IMAGES, LABELS))(variables)
    assert [layer.name for layer in layers] == ["stage1/dense", "stage2/dense", "head/dense"]

    def mean_loss(params):
        return softmax_cross_entropy(network.apply({"params": params}, IMAGES), LABELS).mean()

    slopes = quick_jit(jax.grad(mean_loss))(params)
    for layer in layers:
        stage = layer.name.split("/")[0]
        slope, kernel = slopes[stage]["dense"]["kernel"], params[stage]["dense"]["kernel"]
        ratio = np.linalg.norm(slope) / np.linalg.norm(kernel)
        assert layer.gradient_to_weight == pytest.approx(ratio, rel=1e-4)
        assert layer.kernel_gradient_std == pytest.approx(
            float(np.sqrt(np.mean(slope**2))), rel=1e-4
        )
        assert layer.kernel_std == pytest.approx(float(np.std(kernel)), rel=1e-5)
    # At the logits the gradient of an image's own loss is softmax - one-hot.
    logits = network.apply(variables, IMAGES)
    wanted = jax.nn.softmax(logits) - jax.nn.one_hot(LABELS, 3)
    assert layers[-1].gradient_std == pytest.approx(float(np.sqrt(np.mean(wanted**2))), rel=1e-4)
    # And a layer before: through the head's kernel and tanh.
    x = network.apply(variables, IMAGES, stop="stage2")
    before = (wanted @ params["head"]["dense"]["kernel"].T) * (1 - x**2)
    assert layers[-2].gradient_std == pytest.approx(float(np.sqrt(np.mean(before**2))), rel=1e-4)
    assert layers[-1].reads.mean == pytest.approx(float(x.mean()), abs=1e-5)
    assert layers[-1].gives.std == pytest.approx(float(logits.std()), rel=1e-5)


def test_gradients_too_small_to_be_squared_are_measured(quick_jit):
    network = models.mlp(3, widths=(20,) * 5)
    start = init.create("gaussian", std=1e-6)
    layers = quick_jit(
        lambda key: activations(network, start(network, key, IMAGES), IMAGES, LABELS)
    )(jax.random.key(0))
    assert 0 < layers[0].gradient_std < 1e-22


def test_layers_of_a_residual_net_come_in_the_order_of_their_calls(quick_jit):
    network = models.create("resnet8", num_classes=3, width=2)
    shapes = jax.eval_shape(network.init, jax.random.key(0), IMAGES)
    layers = jax.eval_shape(lambda v: activations(network, v, IMAGES, LABELS, bins=9), shapes)
    names = [layer.name for layer in layers]
    assert names[:3] == ["stem/conv", "stage1/block0/conv1", "stage1/block0/conv2"]
    assert len(names) == 8 and names[-1] == "head/classifier/dense"
    assert layers[3].reads.counts.shape == (9,)


class Twice(nn.Module):
    """The same dense layer, two times."""

    @nn.compact
    def __call__(self, x, *, train=False):
        layer = nn.Dense(16, name="dense")
        return layer(jnp.tanh(layer(x)))


def test_a_layer_that_is_called_twice_is_there_twice(quick_jit):
    network = Network((("stem", Flatten()), ("stage1", Twice()), ("head", Classifier(3))))
    measure = quick_jit(lambda v: activations(network, v, IMAGES, LABELS))
    layers = measure(quick_jit(network.init)(jax.random.key(0), IMAGES))
    assert [at.name for at in layers] == ["stage1/dense", "stage1/dense (2)", "head/dense"]
    assert layers[0].kernel_gradient_std == layers[1].kernel_gradient_std
    assert layers[0].gradient_std != layers[1].gradient_std
    # LSUV sets it right for its first call; the second uses the same kernel.
    lsuv = init.create("lsuv")
    started = quick_jit(lambda key: lsuv(network, key, IMAGES))(jax.random.key(0))
    first, second, head = measure(started)
    assert (first.gives.std, head.gives.std) == (pytest.approx(1, rel=1e-3),) * 2
    assert second.gives.std != pytest.approx(1, rel=1e-2)


def test_dropout_drops_in_training_only(quick_jit):
    stages = (("stem", Flatten()), ("stage1", Hidden(50, dropout=0.5)), ("head", Classifier(3)))
    network = Network(stages)

    @quick_jit
    def zeros(key):
        variables = network.init(key, IMAGES)
        sides = [activations(network, variables, IMAGES, train=train) for train in (True, False)]
        return [layers[-1].reads.zeros for layers in sides]

    dropped, kept = zeros(jax.random.key(0))
    assert dropped > kept + 0.15


def test_arguments_that_do_not_fit_are_refused():
    network = models.mlp(3, widths=(2,))
    with pytest.raises(ValueError, match="bins must be at least 1"):
        activations(network, {}, IMAGES, bins=0)
    with pytest.raises(ValueError, match=r"labels must be \[N\] with N = 7"):
        activations(network, {}, IMAGES, LABELS[:3])


def test_distinct_units_are_counted_up_to_rounding():
    column = np.array([1.0, -2.0, 0.5])
    kernel = np.stack([column, column + 1e-6, -column, column], axis=1)
    assert distinct_units(kernel) == 2
    assert distinct_units(np.zeros((3, 3, 2, 4))) == 1
    with pytest.raises(ValueError, match=r"\[..., in, out\]"):
        distinct_units(column)
