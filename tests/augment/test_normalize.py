"""From pixels to numbers: known values, and messages for other shapes."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import augment

KEY = jax.random.key(0)
PIXELS = jnp.asarray([[[[0, 10], [255, 130]]]], jnp.uint8)  # [1, 1, 2, 2]


def test_normalize_gives_known_values_a_channel():
    got = augment.normalize((100.0, 10.0), (50.0, 60.0))(KEY, PIXELS)
    assert got.dtype == jnp.float32
    np.testing.assert_allclose(got, [[[[-2.0, 0.0], [3.1, 2.0]]]], rtol=1e-6)


def test_normalize_with_a_data_sets_statistics_gives_mean_zero_and_deviation_one():
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 6, 3), dtype=np.uint8)
    mean, std = images.mean((0, 1, 2)), images.std((0, 1, 2))
    got = np.asarray(augment.normalize(mean, std)(KEY, images), np.float64)
    np.testing.assert_allclose(got.mean((0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(got.std((0, 1, 2)), 1, atol=1e-6)


def test_subtracting_the_mean_image_gives_known_values():
    mean_image = np.asarray([[[0.0, 20.0], [5.0, 130.0]]])
    got = augment.subtract_mean_image(mean_image, scale=2.0)(KEY, PIXELS)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, [[[[0.0, -5.0], [125.0, 0.0]]]])


def test_the_unit_range_is_zero_to_one():
    got = augment.to_unit_range()(KEY, PIXELS)
    assert got.dtype == jnp.float32 and got[0, 0, 1, 0] == 1.0
    np.testing.assert_allclose(got, np.asarray(PIXELS) / 255.0, rtol=1e-6)


@pytest.mark.parametrize(
    "transform",
    [
        augment.normalize((9.0, 9.0), (3.0, 3.0)),
        augment.subtract_mean_image(np.ones((1, 2, 2))),
        augment.to_unit_range(),
    ],
)
def test_the_key_does_not_matter(transform):
    np.testing.assert_array_equal(transform(KEY, PIXELS), transform(jax.random.key(99), PIXELS))


@pytest.mark.parametrize("std", [(1.0, 0.0), (1.0, -1.0), (1.0, float("nan"))])
def test_a_deviation_that_is_not_positive_is_refused(std):
    with pytest.raises(ValueError, match="std must be positive"):
        augment.normalize((0.0, 0.0), std)


@pytest.mark.parametrize(("mean", "std"), [((0.0,), (1.0, 1.0)), (0.0, 1.0), ([[0.0]], [[1.0]])])
def test_mean_and_deviation_must_be_one_number_a_channel(mean, std):
    with pytest.raises(ValueError, match="one number a channel each"):
        augment.normalize(mean, std)


def test_another_number_of_channels_is_named():
    with pytest.raises(ValueError, match=r"must have 3 channels.*got shape \(1, 1, 2, 2\)"):
        augment.normalize((0.0,) * 3, (1.0,) * 3)(KEY, PIXELS)


def test_a_mean_image_of_another_shape_is_named():
    with pytest.raises(ValueError, match=r"\[N, 4, 4, 2\].*got shape \(1, 1, 2, 2\)"):
        augment.subtract_mean_image(np.zeros((4, 4, 2)))(KEY, PIXELS)


@pytest.mark.parametrize(
    ("mean_image", "scale", "message"),
    [(np.zeros((4, 4)), 1.0, "must be \\[H, W, C\\]"), (np.zeros((4, 4, 1)), 0.0, "scale")],
)
def test_subtract_mean_image_checks_its_settings(mean_image, scale, message):
    with pytest.raises(ValueError, match=message):
        augment.subtract_mean_image(mean_image, scale)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ((float("nan"), 0.0), (1.0, 1.0), "mean must be finite"),
        ((0.0, float("-inf")), (1.0, 1.0), "mean must be finite"),
        ((0.0, 1e39), (1.0, 1.0), "mean must be finite"),  # infinite in float32
        ((0.0, 0.0), (1.0, float("inf")), "std must be positive and finite"),
        ((0.0, 0.0), (1.0, float("nan")), "std must be positive and finite"),
        ((0.0, 0.0), (1.0, 0.0), "std must be positive and finite"),
        ((0.0, 0.0), (1.0, 1e-42), "std must be positive and finite"),  # 1 / std overflows
    ],
)
def test_numbers_that_would_make_every_pixel_nan_or_infinite_are_refused(mean, std, message):
    with np.errstate(over="ignore"), pytest.raises(ValueError, match=message):
        augment.normalize(mean, std)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_a_mean_image_and_its_scale_must_be_finite(scale):
    with pytest.raises(ValueError, match="scale must be positive and finite"):
        augment.subtract_mean_image(np.ones((1, 2, 2)), scale)
    with pytest.raises(ValueError, match="mean_image must be finite"):
        augment.subtract_mean_image(np.full((1, 2, 2), np.nan))
