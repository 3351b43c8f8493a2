"""PSNR and SSIM: scikit-image's numbers, closed forms, and the formula written out."""

import numpy as np
import pytest

from cnnlab.report import image_scores
from cnnlab.report.image_scores import largest_window, mean_squared_error, psnr, ssim


def random_pair(shape, seed=0):
    generator = np.random.Generator(np.random.PCG64(seed))
    return generator.random(shape), generator.random(shape)


@pytest.mark.parametrize(
    "case",
    [
        "grey, as published",
        "coloured, as published",
        "coloured, 0 to 255",
        "a smaller window",
    ],
)
def test_scores_are_scikit_images(reference, case):
    script, numbers = reference("image_scores_skimage")
    _, window, sigma, peak = script.CASES[case]
    clean, noisy = script.images(case)
    actual = ssim(noisy, clean, peak=peak, window=window, sigma=sigma)
    np.testing.assert_allclose(actual, numbers[case]["ssim"], rtol=1e-10)
    np.testing.assert_allclose(psnr(noisy, clean, peak=peak), numbers[case]["psnr"], rtol=1e-12)


def test_ssim_is_the_paper_s_formula_window_by_window():
    """Equations 13 to 16 of Wang et al., written out with loops."""
    x, y = (image[0, ..., 0] for image in random_pair((1, 12, 13, 1)))
    offsets = np.arange(11) - 5
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    actual = []
    for i in range(2):
        for j in range(3):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            mean_a, mean_b = np.sum(weights * a), np.sum(weights * b)
            variance_a = np.sum(weights * (a - mean_a) ** 2)
            variance_b = np.sum(weights * (b - mean_b) ** 2)
            covariance = np.sum(weights * (a - mean_a) * (b - mean_b))
            actual.append(
                (2 * mean_a * mean_b + 1e-4)
                * (2 * covariance + 9e-4)
                / ((mean_a**2 + mean_b**2 + 1e-4) * (variance_a + variance_b + 9e-4))
            )
    got = ssim(x[None, ..., None], y[None, ..., None])
    np.testing.assert_allclose(got, [np.mean(actual)], rtol=1e-10)


def test_psnr_of_an_error_of_a_tenth_everywhere_is_twenty_decibels():
    clean = np.full((3, 4, 4, 3), 0.5)
    np.testing.assert_allclose(psnr(clean + 0.1, clean), [20, 20, 20])
    np.testing.assert_allclose(mean_squared_error(clean + 0.1, clean), [0.01] * 3)


def test_equal_images_have_no_finite_psnr_but_where_it_is_cut_off():
    images, _ = random_pair((2, 12, 12, 1))
    assert np.isposinf(psnr(images, images)).all()
    cut = psnr(images, images, highest=image_scores.ROUNDING_PSNR)
    np.testing.assert_allclose(cut, 58.92, atol=0.01)
    np.testing.assert_allclose(ssim(images, images), 1)


def test_rounding_to_eight_bits_has_the_documented_error():
    exact, _ = random_pair((1, 64, 64, 3))
    rounded = np.rint(255 * exact) / 255
    assert psnr(rounded, exact)[0] == pytest.approx(image_scores.ROUNDING_PSNR, abs=0.1)


def test_several_networks_are_scored_against_one_row_of_originals():
    """[S, N, ...] with [N, ...]: chunks and axes change nothing."""
    images, clean = random_pair((2, 600, 11, 11, 1))[0], random_pair((600, 11, 11, 1), 1)[1]
    for score in (psnr, ssim):
        actual = score(images.astype(np.float32), clean)
        assert actual.shape == (2, 600)
        alone = score(images[1, 513:515].astype(np.float32), clean[513:515])
        np.testing.assert_allclose(actual[1, 513:515], alone, rtol=1e-12)


@pytest.mark.parametrize(("size", "window"), [((32, 32), 11), ((11, 40), 11), ((8, 8), 7), (2, 1)])
def test_the_window_is_the_largest_odd_one_that_fits(size, window):
    assert largest_window(*(size if isinstance(size, tuple) else (size, size))) == window


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ssim(x[:, :8], x[:, :8]), r"11 x 11 pixels, got 8 x 12.*window=7"),
        (lambda x: ssim(x, x, window=4), "must be odd"),
        (lambda x: psnr(x, x[:, :8]), r"of one shape, got \(2, 12, 12, 1\)"),
        (lambda x: psnr(x[0, ..., 0], x[0, ..., 0]), r"\[\.\.\., H, W, C\]"),
        (lambda x: psnr(x, x, peak=0), "peak must be positive"),
        (lambda x: psnr(x[:0], x[:0]), "at least one image"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(random_pair((2, 12, 12, 1))[0])
