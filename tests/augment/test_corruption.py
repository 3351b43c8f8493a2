"""Noise, masks and grey values: how much, how often, and of which range."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab.augment import corruption
from cnnlab.augment.corruption import gaussian_noise, grey, masking_noise, salt_and_pepper

KEY = jax.random.key(5)
IMAGES = jax.random.uniform(jax.random.key(0), (40, 12, 10, 3), minval=0.3, maxval=0.7)


@pytest.fixture(scope="module")
def corrupted(quick_jit):
    """Each corruption of the same images, compiled together."""
    transforms = {
        "gaussian": gaussian_noise(0.2),
        "cut off": gaussian_noise(0.5, within=(0.0, 1.0)),
        "masked": masking_noise(0.25),
        "salt and pepper": salt_and_pepper(0.4, low=-1.0, high=2.0),
    }

    def run(key, images):
        whole = {name: transform(key, images) for name, transform in transforms.items()}
        return whole, {name: transform(key, images[:3]) for name, transform in transforms.items()}

    return jax.tree.map(np.asarray, quick_jit(run)(KEY, IMAGES))


def test_what_happens_to_an_image_does_not_depend_on_those_after_it(corrupted):
    whole, first = corrupted
    for name, images in whole.items():
        np.testing.assert_array_equal(images[:3], first[name])
        assert images.shape == IMAGES.shape and images.dtype == np.float32


def test_gaussian_noise_has_its_deviation_and_is_independent(corrupted):
    noise = (corrupted[0]["gaussian"] - IMAGES).reshape(40, -1)
    assert abs(noise.mean()) < 4 * 0.2 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(0.2, rel=4 / np.sqrt(2 * noise.size))
    correlation = np.corrcoef(noise)[np.triu_indices(40, 1)]
    assert np.abs(correlation).max() < 0.3  # sqrt(1 / 360) is 0.05
    assert np.mean(np.abs(noise) > 0.4) == pytest.approx(0.0455, abs=0.01)  # normal: two sigma


def test_noise_is_cut_off_only_where_a_range_is_given(corrupted):
    whole, _ = corrupted
    assert whole["cut off"].min() == 0 and whole["cut off"].max() == 1
    assert whole["gaussian"].min() < 0 and whole["gaussian"].max() > 1


def test_masking_covers_whole_pixels_with_the_probability_and_leaves_the_others(corrupted):
    images = corrupted[0]["masked"]
    covered = (images == 0).all(-1)
    np.testing.assert_array_equal(covered, (images == 0).any(-1))
    deviation = np.sqrt(covered.size * 0.25 * 0.75)
    assert abs(covered.sum() - 0.25 * covered.size) < 4 * deviation
    np.testing.assert_array_equal(images[~covered], np.asarray(IMAGES)[~covered])


def test_salt_and_pepper_strike_as_often_as_each_other(corrupted):
    images = corrupted[0]["salt and pepper"]
    pepper, salt = ((images == value).all(-1) for value in (-1, 2))
    struck = pepper | salt
    assert abs(struck.sum() - 0.4 * struck.size) < 4 * np.sqrt(struck.size * 0.4 * 0.6)
    assert abs(salt.sum() - 0.5 * struck.sum()) < 4 * np.sqrt(struck.sum() * 0.25)
    np.testing.assert_array_equal(images[~struck], np.asarray(IMAGES)[~struck])


def test_amounts_of_nothing_and_of_everything():
    np.testing.assert_array_equal(gaussian_noise(0)(KEY, IMAGES[:2]), IMAGES[:2])
    np.testing.assert_array_equal(masking_noise(0)(KEY, IMAGES[:2]), IMAGES[:2])
    assert (masking_noise(1, fill=0.5)(KEY, IMAGES[:2]) == 0.5).all()


def test_grey_values_are_those_of_television():
    """BT.601: 0.299 R + 0.587 G + 0.114 B, whose sum is one."""
    primaries = jnp.eye(3).reshape(1, 1, 3, 3)
    wanted = [0.299, 0.587, 0.114]
    same = grey()(KEY, primaries)
    np.testing.assert_allclose(same, np.repeat(wanted, 3).reshape(1, 1, 3, 3), rtol=1e-6)
    np.testing.assert_allclose(grey(keep_channels=False)(KEY, primaries)[0, 0, :, 0], wanted)
    again = grey()(KEY, grey()(KEY, IMAGES))
    np.testing.assert_allclose(again, grey()(KEY, IMAGES), rtol=1e-5)
    assert sum(corruption.LUMA) == pytest.approx(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gaussian_noise(-0.1), "must be >= 0 and finite, got -0.1"),
        (lambda: gaussian_noise(float("nan")), "got nan"),
        (lambda: gaussian_noise(0.1, within=(1, 0)), "low < high"),
        (lambda: masking_noise(1.5), r"in \[0, 1\], got 1.5"),
        (lambda: salt_and_pepper(-1), r"in \[0, 1\], got -1"),
        (lambda: salt_and_pepper(0.1, low=1.0, high=0.0), "low must be below high"),
        (lambda: grey(weights=(1.0, 1.0)), "must sum to 1"),
        (lambda: grey()(KEY, IMAGES[..., :1]), "Grey images have no colours to remove"),
        (lambda: grey()(KEY, jnp.zeros((1, 2, 2, 3), jnp.uint8)), "got uint8: use it after"),
        (lambda: gaussian_noise(1)(KEY, jnp.zeros((1, 2, 2, 3), jnp.uint8)), "got uint8"),
        (lambda: masking_noise(0.5)(KEY, IMAGES[0]), r"\[N, H, W, C\]"),
    ],
)
def test_amounts_out_of_range_and_other_images_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
