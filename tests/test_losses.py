"""The cross-entropy against closed forms, and its edges."""

import jax
import numpy as np
import optax
import pytest
from jax import numpy as jnp

from cnnlab.losses import softmax_cross_entropy

LOGITS = np.random.Generator(np.random.PCG64(0)).standard_normal((6, 4)).astype(np.float32) * 3
LABELS = np.asarray([0, 1, 2, 3, 3, 0], np.int32)


def probabilities(logits):
    exponents = np.exp(logits.astype(np.float64))
    return exponents / exponents.sum(axis=1, keepdims=True)


def test_one_value_an_example_minus_the_logarithm_of_the_labels_probability():
    got = softmax_cross_entropy(jnp.asarray(LOGITS), jnp.asarray(LABELS))
    want = -np.log(probabilities(LOGITS)[np.arange(6), LABELS])
    assert got.shape == (6,)
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_even_odds_cost_the_logarithm_of_the_classes():
    got = softmax_cross_entropy(jnp.full((2, 10), 3.0), jnp.asarray([0, 9]))
    np.testing.assert_allclose(got, np.log(10), rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_smoothing_mixes_the_target_with_the_uniform_distribution(smoothing):
    got = softmax_cross_entropy(LOGITS, LABELS, label_smoothing=smoothing)
    target = (1 - smoothing) * np.eye(4)[LABELS] + smoothing / 4
    want = -(target * np.log(probabilities(LOGITS))).sum(axis=1)
    np.testing.assert_allclose(got, want, rtol=1e-5)
    smoothed = optax.smooth_labels(jax.nn.one_hot(LABELS, 4), smoothing)
    np.testing.assert_allclose(got, optax.softmax_cross_entropy(LOGITS, smoothed), rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_gradient_is_the_probabilities_minus_the_target(smoothing):
    def total(logits):
        return softmax_cross_entropy(logits, LABELS, label_smoothing=smoothing).sum()

    target = (1 - smoothing) * np.eye(4)[LABELS] + smoothing / 4
    want = probabilities(LOGITS) - target
    np.testing.assert_allclose(jax.grad(total)(LOGITS), want, atol=1e-6)


def test_with_smoothing_the_best_logits_are_finite():
    """At p = target the gradient is zero: ``(1 - s) + s / K`` for the label."""
    best = np.log(np.asarray([[0.925, 0.025, 0.025, 0.025]], np.float32))
    gradient = jax.grad(
        lambda logits: softmax_cross_entropy(logits, jnp.asarray([0]), label_smoothing=0.1).sum()
    )(best)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_huge_logits_give_finite_losses(smoothing):
    logits = jnp.asarray([[1e4, -1e4], [1e4, -1e4]])
    got = softmax_cross_entropy(logits, jnp.asarray([0, 1]), label_smoothing=smoothing)
    want = [smoothing / 2 * 2e4, (1 - smoothing / 2) * 2e4]
    np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize(
    ("logits", "labels"), [((4,), (4,)), ((2, 3), (3,)), ((2, 3), (2, 3)), ((1, 2, 3), (1,))]
)
def test_other_shapes_are_refused(logits, labels):
    with pytest.raises(ValueError, match=r"logits must be \[N, K\] and labels integers \[N\]"):
        softmax_cross_entropy(jnp.zeros(logits), jnp.zeros(labels, jnp.int32))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_a_smoothing_out_of_range_is_refused(smoothing):
    with pytest.raises(ValueError, match=r"label_smoothing must be in \[0, 1\)"):
        softmax_cross_entropy(LOGITS, LABELS, label_smoothing=smoothing)
