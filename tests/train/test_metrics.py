"""Sums add over batches and uneven parts; means are taken once, at the end."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab.train import means
from cnnlab.train.metrics import NEVER, Sums, accuracy, add, batch_sums, zero_sums

GENERATOR = np.random.Generator(np.random.PCG64(0))
LOGITS = GENERATOR.standard_normal((10, 4)).astype(np.float32)
LABELS = GENERATOR.integers(0, 4, 10).astype(np.int32)
LOSSES = GENERATOR.uniform(0, 3, 10).astype(np.float32)


def sums_of(part, weights=None, step=0):
    weights = jnp.ones(len(LABELS[part])) if weights is None else weights
    return batch_sums(LOSSES[part], accuracy(LOGITS[part], LABELS[part]), weights, step)


def test_a_batch_adds_up_to_known_sums():
    logits = jnp.asarray([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]])
    right = accuracy(logits, jnp.asarray([1, 1, 1]))
    sums = batch_sums(jnp.asarray([0.5, 2.0, 0.25]), right, jnp.ones(3))
    assert sums == Sums(loss=2.75, correct=2, examples=3, diverged=NEVER)
    assert [x.dtype for x in sums] == [jnp.float32, jnp.float32, jnp.int32, jnp.int32]


def test_the_accuracy_of_a_label_of_no_class_is_nan():
    right = accuracy(jnp.eye(3), jnp.asarray([-1, 1, 3]))
    np.testing.assert_array_equal(right, [np.nan, 1, np.nan])


def test_uneven_parts_have_the_means_of_the_whole():
    parts = [sums_of(slice(0, 7)), sums_of(slice(7, 8)), sums_of(slice(8, 10))]
    total = zero_sums()
    for part in parts:
        total = add(total, part)
    got = means(total)
    np.testing.assert_allclose(got["loss"], LOSSES.astype(np.float64).mean(), rtol=1e-6)
    assert got["accuracy"] == (LOGITS.argmax(1) == LABELS).mean()
    assert got["loss"].dtype == got["accuracy"].dtype == np.float64


def test_padding_counts_for_nothing_even_where_its_loss_is_not_finite():
    weights = jnp.asarray([1.0] * 7 + [0.0] * 3)
    losses = jnp.where(weights > 0, LOSSES, jnp.nan)
    got = batch_sums(losses, accuracy(LOGITS, LABELS), weights)
    want = sums_of(slice(0, 7))
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert got.diverged == NEVER and got.examples == 7


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf])
def test_the_first_step_that_diverged_is_kept(bad):
    def at(step, loss):
        return batch_sums(jnp.asarray([loss]), jnp.zeros(1), jnp.ones(1), step)

    total = zero_sums()
    for step, loss in [(3, 1.0), (4, bad), (5, bad), (6, 1.0)]:
        total = add(total, at(step, loss))
    assert total.diverged == 4


def test_the_sum_of_half_precision_losses_is_taken_in_single():
    losses = jnp.full(4096, 1.0, jnp.bfloat16)
    got = batch_sums(losses, None, jnp.ones(4096))
    assert got.loss == 4096 and got.loss.dtype == jnp.float32


def test_members_have_their_own_means():
    first, second = sums_of(slice(0, 5)), sums_of(slice(5, 10))
    got = means(jax.tree.map(lambda *x: jnp.stack(x), first, second))
    assert got["loss"].shape == got["accuracy"].shape == (2,)
    np.testing.assert_allclose(got["loss"], LOSSES.reshape(2, 5).mean(1), rtol=1e-6)


def test_the_means_of_nothing_are_refused():
    with pytest.raises(ValueError, match="at least one example, got none"):
        means(zero_sums())


def test_a_loss_that_is_not_one_number_an_example_is_refused():
    with pytest.raises(ValueError, match=r"one number for each of 2 examples, got shape \(2, 4\)"):
        batch_sums(jnp.ones((2, 4)), None, jnp.ones(2))


def test_without_a_score_there_is_the_loss_alone():
    assert set(means(sums_of(slice(0, 5)), scored=False)) == {"loss"}
