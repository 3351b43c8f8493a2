"""Reconstruction losses: closed forms, their minima, and invalid arguments."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from scipy import optimize

from cnnlab.losses.reconstruction import images_of, reconstruction

LABELS = jnp.zeros(2, jnp.int32)


def test_losses_are_the_mean_over_an_image_s_numbers():
    outputs = jnp.asarray([[0.0, 1.0], [2.0, -1.0]]).reshape(2, 1, 2, 1)
    targets = jnp.asarray([[0.5, 1.0], [0.0, 1.0]]).reshape(2, 1, 2, 1)
    np.testing.assert_allclose(reconstruction()(outputs, LABELS, targets), [0.125, 4])
    np.testing.assert_allclose(reconstruction("absolute")(outputs, LABELS, targets), [0.25, 2])
    p = 1 / (1 + np.exp(-np.asarray(outputs, np.float64)))
    t = np.asarray(targets)
    wanted = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean(axis=(1, 2, 3))
    result = reconstruction("bernoulli")(outputs, LABELS, targets)
    np.testing.assert_allclose(result, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "best"), [("squared", 0.4), ("bernoulli", 0.4), ("absolute", 0.2)]
)
def test_the_best_output_for_several_targets_is_their_mean_or_median(kind, best):
    """A denoiser returns the mean of the possible images, which is why its images are smooth."""
    truths = jnp.asarray([0.1, 0.2, 0.9]).reshape(3, 1, 1, 1)
    loss = reconstruction(kind)

    def expected(output):
        outputs = jnp.full((3, 1, 1, 1), output)
        return float(loss(outputs, jnp.zeros(3, jnp.int32), truths).mean())

    minimum = optimize.minimize_scalar(expected, bounds=(-4, 4), method="bounded").x
    image = images_of(jnp.asarray(minimum), kind)
    assert float(image) == pytest.approx(best, abs=2e-3)


def test_huge_logits_have_finite_losses_and_gradients():
    outputs = jnp.asarray([1e4, -1e4]).reshape(2, 1, 1, 1)
    loss = reconstruction("bernoulli")
    value, gradient = jax.value_and_grad(lambda x: loss(x, LABELS, 0 * x + 0.5).sum())(outputs)
    assert value == pytest.approx(1e4) and np.isfinite(gradient).all()


def test_images_lie_between_black_and_white():
    outputs = jnp.asarray([-3.0, 0.25, 7.0])
    np.testing.assert_allclose(images_of(outputs), [0, 0.25, 1])
    np.testing.assert_allclose(images_of(outputs, "bernoulli"), jax.nn.sigmoid(outputs))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: reconstruction("square"), "Did you mean 'squared'"),
        (lambda x: images_of(x, "bernouli"), "Did you mean 'bernoulli'"),
        (lambda x: reconstruction()(x, LABELS), "Set Recipe.corrupt"),
        (
            lambda x: reconstruction()(x, LABELS, x[..., :1]),
            r"shape of the target images, \(2, 4, 4, 1\)",
        ),
    ],
)
def test_unknown_kinds_and_other_shapes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(jnp.zeros((2, 4, 4, 3)))
