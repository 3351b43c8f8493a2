"""Losses of every pixel: known values, the published gradient of Dice, cropped masks."""

import math

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from sklearn.metrics import f1_score, log_loss

from cnnlab.losses import dense
from cnnlab.losses.dense import dice_coefficient, segmentation, soft_dice

LABELS = jnp.zeros(2, jnp.int32)


@pytest.fixture(scope="module")
def example():
    """Logits [2, 4, 5, 3] and masks [2, 4, 5]."""
    generator = np.random.Generator(np.random.PCG64(0))
    logits = generator.standard_normal((2, 4, 5, 3)).astype(np.float32)
    masks = generator.integers(0, 3, (2, 4, 5)).astype(np.uint8)
    masks[1] = np.minimum(masks[1], 1)  # the second has no pixel of class 2
    return jnp.asarray(logits), jnp.asarray(masks)


def test_cross_entropy_equals_scikit_learn_s_with_weights_and_without(example):
    logits, masks = example
    weights = (0.5, 1.0, 3.0)
    plain = segmentation(0.0)(logits, LABELS, masks)
    weighted = segmentation(0.0, class_weights=weights)(logits, LABELS, masks)
    for n in range(2):
        truth, p = np.ravel(masks[n]), np.asarray(jax.nn.softmax(logits[n])).reshape(-1, 3)
        p = p.astype(np.float64) / p.sum(1, keepdims=True)
        each = np.array(weights)[truth]
        np.testing.assert_allclose(plain[n], log_loss(truth, p, labels=[0, 1, 2]), rtol=1e-5)
        wanted = log_loss(truth, p, labels=[0, 1, 2], sample_weight=each)
        np.testing.assert_allclose(weighted[n], wanted, rtol=1e-5)


def test_dice_of_sure_predictions_is_scikit_learn_s_f1_score(example):
    logits, masks = example
    predicted = logits.argmax(-1)
    sure = dice_coefficient(jax.nn.one_hot(predicted, 3), jax.nn.one_hot(masks, 3))
    for n in range(2):
        wanted = f1_score(np.ravel(masks[n]), np.ravel(predicted[n]), average=None)
        np.testing.assert_allclose(sure[n, : len(wanted)], wanted, rtol=1e-6)


def test_the_gradient_of_dice_is_the_published_one():
    # Milletari et al., 3DV 2016, section 3, where the square of the sum stands below.
    generator = np.random.Generator(np.random.PCG64(1))
    p = generator.random((1, 3, 4, 1)).astype(np.float32)
    g = (generator.random((1, 3, 4, 1)) < 0.4).astype(np.float32)
    gradient = jax.grad(lambda p: dice_coefficient(p, jnp.asarray(g)).sum())(jnp.asarray(p))
    below = (p**2).sum() + (g**2).sum()
    wanted = 2 * (g * below - 2 * p * (p * g).sum()) / below**2
    np.testing.assert_allclose(gradient, wanted, rtol=1e-5, atol=1e-7)


def test_dice_by_hand():
    # Two pixels, two classes, p = 3/4 for the right class of each.
    logits = jnp.log(jnp.array([[[[3.0, 1.0], [1.0, 3.0]]]]))
    masks = jnp.array([[[0, 1]]])
    one = 2 * 0.75 / (0.75**2 + 0.25**2 + 1)
    np.testing.assert_allclose(soft_dice(logits, masks, smooth=0.0), [1 - one], rtol=1e-6)
    smooth = (2 * 0.75 + 1) / (0.75**2 + 0.25**2 + 2)
    np.testing.assert_allclose(soft_dice(logits, masks), [1 - smooth], rtol=1e-6)


def test_an_absent_class_costs_its_probability_unless_only_present_classes_count():
    logits = jnp.array([[[[4.0, 0.0, -50.0], [0.0, 4.0, -50.0]]]])
    masks = jnp.array([[[0, 1]]])
    seen = logits.at[..., 2].set(0.0)
    assert (
        float(soft_dice(logits, masks, present=False)[0]) < 0.02
    )  # nothing of class 2: it counts as right
    p = jax.nn.softmax(seen)
    two = dice_coefficient(p[..., :2], jax.nn.one_hot(masks, 2), smooth=1.0)
    lost = 1 - 1 / (1 + jnp.sum(p[..., 2] ** 2))
    wanted = (jnp.sum(1 - two) + lost) / 3
    np.testing.assert_allclose(soft_dice(seen, masks, present=False)[0], wanted, rtol=1e-5)
    present = soft_dice(seen, masks)[0]
    np.testing.assert_allclose(present, jnp.mean(1 - two), rtol=1e-5)


def test_the_mix_is_of_both_and_weights_are_of_classes(example):
    logits, masks = example
    alone = [segmentation(d)(logits, LABELS, masks) for d in (0.0, 1.0)]
    mixed = segmentation(0.3)(logits, LABELS, masks)
    np.testing.assert_allclose(mixed, 0.7 * alone[0] + 0.3 * alone[1], rtol=1e-5)
    same = segmentation(0.3, class_weights=(2.0, 2.0, 2.0))(logits, LABELS, masks)
    np.testing.assert_allclose(same, mixed, rtol=1e-5)
    nearly = soft_dice(logits, masks, class_weights=(1e-6, 1.0, 1e-6), present=False)
    truth, p = jax.nn.one_hot(masks, 3), jax.nn.softmax(logits)
    wanted = 1 - dice_coefficient(p, truth, smooth=1.0)[:, 1]
    np.testing.assert_allclose(nearly, wanted, rtol=1e-4)


def test_masks_are_cropped_to_the_middle_where_logits_are_fewer(example):
    logits, masks = example
    wide = jnp.pad(masks, ((0, 0), (2, 3), (1, 1)), constant_values=2)
    for loss in (segmentation(0.5), dense.pixel_accuracy):
        wanted = loss(logits, LABELS, masks)
        np.testing.assert_array_equal(loss(logits, LABELS, wide), wanted)
    # U-Net as published: 388 of 572 pixels, 92 lost on each side.
    row = np.broadcast_to(np.arange(572), (1, 572, 572))
    middle = dense.centred(row, np.empty((1, 388, 388, 2)))
    assert middle.shape == (1, 388, 388)
    assert (middle[0, 0, 0], middle[0, 0, -1]) == (92, 479)
    with pytest.raises(ValueError, match="at least the logits' 4 x 5 pixels, got 3 x 5"):
        dense.centred(masks[:, :3], logits)


def test_pixel_accuracy_is_the_fraction_of_correct_pixels(example):
    logits, masks = example
    wanted = (np.asarray(logits).argmax(-1) == np.asarray(masks)).mean((1, 2))
    np.testing.assert_allclose(dense.pixel_accuracy(logits, LABELS, masks), wanted)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dice": 1.5}, "dice must be in"),
        ({"smooth": -1.0}, "smooth"),
        ({"smooth": math.inf}, "smooth"),
        ({"class_weights": (1.0, 0.0)}, "positive"),
        ({"class_weights": ()}, "positive"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        segmentation(**settings)


def test_shapes_that_do_not_fit_and_masks_of_other_classes_are_refused(example):
    logits, masks = example
    with pytest.raises(ValueError, match="a weight for each of 3 classes, got 2"):
        segmentation(0.5, class_weights=(1.0, 1.0))(logits, LABELS, masks)
    with pytest.raises(ValueError, match=r"logits must be \[N, H, W, K\]"):
        soft_dice(logits, masks[:1])
    with pytest.raises(ValueError, match="masks must be integers, got float32"):
        soft_dice(logits, masks.astype(jnp.float32))
    with pytest.raises(ValueError, match=r"got shapes \(2,\)"):
        segmentation()(logits, LABELS, LABELS)
    with pytest.raises(ValueError, match=r"in 0\.\.1, one of 2 classes for each pixel, got 2"):
        dense.check_masks(np.asarray(masks), 2)
    with pytest.raises(ValueError, match=r"got float32 of shape \(2, 4, 5\)"):
        dense.check_masks(np.asarray(masks, np.float32), 3)
    dense.check_masks(np.asarray(masks), 3)


@pytest.mark.parametrize("dice", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("weights", [None, (0.5, 1.0, 3.0)])
@pytest.mark.parametrize("outside", [-1, 3, 255])
def test_a_pixel_of_no_class_makes_its_example_nan_and_leaves_the_other(
    example, dice, weights, outside
):
    logits, masks = example
    damaged = masks.astype(jnp.int32).at[0, 2, 3].set(outside)
    loss = segmentation(dice, class_weights=weights)
    whole = jax.value_and_grad(lambda x: loss(x, LABELS, masks)[1])(logits)
    other = jax.value_and_grad(lambda x: loss(x, LABELS, damaged)[1])(logits)
    np.testing.assert_array_equal(whole[0], other[0])
    np.testing.assert_array_equal(whole[1][1], other[1][1])
    value, gradient = jax.value_and_grad(lambda x: loss(x, LABELS, damaged)[0])(logits)
    assert math.isnan(value) and np.isnan(gradient[0]).any()
    assert np.isnan(dense.pixel_accuracy(logits, LABELS, damaged)).tolist() == [True, False]
