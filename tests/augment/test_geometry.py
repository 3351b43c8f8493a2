"""Flip, crop and cutout: which pixels come out, and how often."""

import itertools

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import augment

KEY = jax.random.key(3)


def numbered(examples, height=4, width=4, dtype=jnp.float32):
    """The same image for every example, each pixel another number."""
    image = 1 + jnp.arange(height * width * 2, dtype=dtype).reshape(height, width, 2)
    return jnp.broadcast_to(image, (examples, height, width, 2))


def outcomes(images):
    """How often each distinct image came out: ``{bytes: count}``."""
    rows, counts = np.unique(
        np.asarray(images).reshape(len(images), -1), axis=0, return_counts=True
    )
    return {row.tobytes(): int(count) for row, count in zip(rows, counts, strict=True)}


@pytest.mark.parametrize("transform", [augment.flip(), augment.crop(1), augment.cutout(2)])
@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.float32, jnp.bfloat16])
def test_dtype_and_shape_stay(transform, dtype):
    got = jax.eval_shape(transform, KEY, numbered(3, 4, 6, dtype))
    assert got.dtype == dtype and got.shape == (3, 4, 6, 2)


# Flip


def test_a_certain_flip_mirrors_left_to_right():
    images = jnp.asarray([[[[1], [2], [3]], [[4], [5], [6]]]])
    want = [[[[3], [2], [1]], [[6], [5], [4]]]]
    np.testing.assert_array_equal(augment.flip(1.0)(KEY, images), want)


def test_an_impossible_flip_is_the_identity():
    images = numbered(20)
    np.testing.assert_array_equal(augment.flip(0.0)(KEY, images), images)


@pytest.mark.parametrize("given", [(), (0.2,)])
def test_each_image_is_flipped_with_the_probability(quick_jit, given):
    """Of so many images, 0.45 in place of the default 0.5 is 9 deviations away."""
    (probability,) = given or (0.5,)
    images = numbered(8000)
    counts = outcomes(quick_jit(augment.flip(*given))(KEY, images))
    mirrored = np.asarray(images[0, :, ::-1]).tobytes()
    assert set(counts) == {mirrored, np.asarray(images[0]).tobytes()}
    deviation = np.sqrt(8000 * probability * (1 - probability))
    assert abs(counts[mirrored] - 8000 * probability) < 4 * deviation


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_flip_refuses_an_invalid_probability(probability):
    with pytest.raises(ValueError, match=r"probability must be in \[0, 1\]"):
        augment.flip(probability)


# Crop


@pytest.mark.parametrize("fill", [0.0, 7.0])
def test_each_window_of_the_padded_image_is_cut_equally_often(quick_jit, fill):
    images = numbered(2500, 4, 5)
    padded = np.pad(images[0], ((2, 2), (2, 2), (0, 0)), constant_values=fill)
    windows = {
        padded[row : row + 4, column : column + 5].tobytes()
        for row, column in itertools.product(range(5), repeat=2)
    }
    counts = outcomes(quick_jit(augment.crop(2, fill))(KEY, images))
    assert set(counts) == windows and len(windows) == 25
    # 100 expected of each of 25: chi-square with 24 degrees of freedom, 0.9999 quantile 59.
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 59


def test_a_crop_without_padding_is_the_identity(quick_jit):
    got = quick_jit(augment.crop(0))(KEY, numbered(5))
    np.testing.assert_array_equal(got, numbered(5))


def test_a_crop_may_reach_into_nothing_but_padding(quick_jit):
    got = quick_jit(augment.crop(2, 9.0))(KEY, numbered(400, 2, 2))
    assert (np.asarray(got) == 9).all(axis=(1, 2, 3)).any()


def test_crop_refuses_negative_padding():
    with pytest.raises(ValueError, match=r"padding must be at least 0, got -1"):
        augment.crop(-1)


# Cutout


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_cutout_covers_the_square_round_any_centre_clipped_at_the_border(quick_jit, size):
    height, width = 4, 5
    images = numbered(1500, height, width)
    squares = set()
    for row, column in itertools.product(range(height), range(width)):
        covered = np.array(images[0])
        top, left = row - size // 2, column - size // 2
        covered[max(top, 0) : top + size, max(left, 0) : left + size] = 0
        squares.add(covered.tobytes())
    counts = outcomes(quick_jit(augment.cutout(size))(KEY, images))
    assert set(counts) == squares


def test_each_centre_is_equally_likely(quick_jit):
    counts = outcomes(quick_jit(augment.cutout(1))(KEY, numbered(2000, 4, 5)))
    assert len(counts) == 20
    # 100 expected of each of 20: chi-square with 19 degrees of freedom, 0.9999 quantile 52.
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 52


def test_all_channels_of_the_square_take_the_fill(quick_jit):
    got = np.asarray(quick_jit(augment.cutout(2, 5.5))(KEY, jnp.zeros((50, 4, 4, 3))))
    assert set(np.unique(got)) == {0.0, 5.5}
    np.testing.assert_array_equal(got == 5.5, np.repeat(got[..., :1] == 5.5, 3, axis=3))


@pytest.mark.parametrize("size", [0, -4])
def test_cutout_refuses_a_square_without_pixels(size):
    with pytest.raises(ValueError, match=r"size must be at least 1, got"):
        augment.cutout(size)


@pytest.mark.parametrize("make", [augment.crop, augment.cutout])
def test_nothing_is_larger_than_the_images(make):
    images = jnp.zeros((2, 6, 8, 1))
    make(6)(jax.random.key(0), images)
    with pytest.raises(ValueError, match="no larger than the images, 6 x 8 pixels, got 7"):
        make(7)(jax.random.key(0), images)
    for wrong in ("4", 1.5):
        with pytest.raises(ValueError, match="must be a whole number"):
            make(wrong)
