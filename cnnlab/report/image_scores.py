"""Similarity of images to their originals: PSNR and SSIM (Wang et al., 2004), image by image."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

ROUNDING_PSNR = float(10 * np.log10(12 * 255**2))
"""58.92 dB: the PSNR, at a peak of 1, of an image to the one that its 8 bits were rounded from.

An error below it is within the rounding of the original."""

_CHUNK = 512  # images at a time, for the float64 copies


def psnr(
    images: ArrayLike, references: ArrayLike, *, peak: float = 1.0, highest: float = np.inf
) -> np.ndarray:
    """Peak signal-to-noise ratio, ``10 log10(peak^2 / mean squared error)``, in dB.

    Args:
      images: ``[..., H, W, C]``.
      references: what they should be, of a shape that broadcasts to theirs.
      peak: the range of the numbers from black to white: 1 or 255.
      highest: more than this is cut off. Equal images have infinity; where means are taken over
        images, ``ROUNDING_PSNR`` keeps one of them from being all that counts.

    Returns:
      float64 ``[...]``, one number an image, over all its channels together.

    Raises:
      ValueError: for shapes that are not of images or do not fit, or a peak that is not positive.

    Example:
      >>> psnr(restored, originals, highest=ROUNDING_PSNR).mean()
    """
    _check_peak(peak)
    with np.errstate(divide="ignore"):
        ratio = np.asarray(peak**2 / mean_squared_error(images, references))
    return np.minimum(10 * np.log10(ratio), highest)


def mean_squared_error(images: ArrayLike, references: ArrayLike) -> np.ndarray:
    """Of each image over its numbers: ``[..., H, W, C]`` of both to float64 ``[...]``.

    Raises:
      ValueError: for shapes that are not of images or do not fit.
    """
    images, references = _pair(images, references)

    def error(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        result: np.ndarray = np.mean(np.square(x - y), axis=(1, 2, 3))
        return result

    return _by_chunks(error, images, references)


def ssim(
    images: ArrayLike,
    references: ArrayLike,
    *,
    peak: float = 1.0,
    window: int = 11,
    sigma: float = 1.5,
) -> np.ndarray:
    """Structural similarity: the mean over all places of a window, and over the channels.

    Means, variances and covariance in a window are weighted by a Gaussian; only windows that lie
    wholly in the image count. Constants ``(0.01 peak)^2`` and ``(0.03 peak)^2``, variances without
    Bessel's correction: as published. Colours are not in the paper; every channel counts alike
    here, as in scikit-image (``channel_axis``), whose numbers with ``gaussian_weights=True,
    use_sample_covariance=False`` these are.

    Args:
      images: ``[..., H, W, C]``.
      references: what they should be, of a shape that broadcasts to theirs.
      peak: the range of the numbers from black to white: 1 or 255.
      window: the side of the window in pixels, odd; 11 as published. Smaller images need a smaller
        one, and their numbers are then not to be held against published ones.
      sigma: of the Gaussian in pixels.

    Returns:
      float64 ``[...]``, one number an image, in [-1, 1]; 1 for equal images.

    Raises:
      ValueError: for shapes that are not of images or do not fit, numbers out of range, or images
        that are smaller than the window.

    Source: Wang, Bovik, Sheikh and Simoncelli, Image Quality Assessment: From Error Visibility to
    Structural Similarity, IEEE Transactions on Image Processing 2004, section III.
    """
    _check_peak(peak)
    if window < 1 or window % 2 == 0 or not sigma > 0:
        raise ValueError(
            f"the window must be odd and at least 1 pixel, and sigma positive, got {window} and "
            f"{sigma}."
        )
    images, references = _pair(images, references)
    height, width = images.shape[-3:-1]
    if min(height, width) < window:
        raise ValueError(
            f"images must be at least as large as the window of {window} x {window} pixels, got "
            f"{height} x {width}. Give a smaller one: window={largest_window(height, width)}."
        )
    down, across = (_averages(size, window, sigma) for size in (height, width))
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2

    def local(x: np.ndarray) -> np.ndarray:
        result: np.ndarray = np.matmul(np.matmul(down, x), across.T)
        return result

    def similarity(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        x, y = np.moveaxis(x, -1, 1), np.moveaxis(y, -1, 1)  # [N, C, H, W]
        mean_x, mean_y = local(x), local(y)
        product = mean_x * mean_y
        squares = mean_x**2 + mean_y**2
        variances = local(x * x + y * y) - squares
        covariance = local(x * y) - product
        ratio = (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
        result: np.ndarray = np.mean(ratio, axis=(1, 2, 3))
        return result

    return _by_chunks(similarity, images, references)


def largest_window(height: int, width: int) -> int:
    """The published window's 11 pixels, or the largest odd number that fits images of the size."""
    smaller = min(height, width)
    return min(11, smaller - (smaller + 1) % 2)


def _averages(size: int, window: int, sigma: float) -> np.ndarray:
    """[size - window + 1, size]: from an axis to its weighted means at all places of a window."""
    offsets = np.arange(window) - window // 2
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    weights /= weights.sum()
    places = size - window + 1
    matrix = np.zeros((places, size))
    for place in range(places):
        matrix[place, place : place + window] = weights
    return matrix


def _by_chunks(
    score: Callable[[np.ndarray, np.ndarray], np.ndarray],
    images: np.ndarray,
    references: np.ndarray,
) -> np.ndarray:
    """``score`` of [n, H, W, C] in float64, for [..., H, W, C]."""
    shape = images.shape[-3:]
    indices = np.ndindex(images.shape[:-4]) if images.ndim > 4 else ((),)
    rows = []
    for index in indices:
        x, y = images[index].reshape(-1, *shape), references[index].reshape(-1, *shape)
        for start in range(0, len(x), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            rows.append(score(x[chunk].astype(np.float64), y[chunk].astype(np.float64)))
    scores: np.ndarray = np.concatenate(rows)
    return scores.reshape(images.shape[:-3])


def _pair(images: ArrayLike, references: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(images), np.asarray(references)
    if min(x.ndim, y.ndim) < 3 or x.shape[-3:] != y.shape[-3:]:
        raise ValueError(
            f"images and references must be [..., H, W, C] of one shape, got {x.shape} and "
            f"{y.shape}."
        )
    if not x.size:
        raise ValueError(f"there must be at least one image, got shape {x.shape}.")
    return x, np.broadcast_to(y, x.shape)


def _check_peak(peak: float) -> None:
    if not 0 < peak < np.inf:
        raise ValueError(f"the peak must be positive, 1 or 255, got {peak}.")
