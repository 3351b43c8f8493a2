"""Noise, masked pixels and grey images: the inputs of denoising and colouring networks.

After ``to_unit_range`` the amounts are fractions of the range from black to white. As
``Recipe.corrupt`` the clean images are the targets; as augmentation a classifier becomes robust to
the corruption.
"""

import math
from collections.abc import Sequence

import jax
from jax import numpy as jnp

from cnnlab.augment.compose import Transform, check_images, per_example

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey value: ITU-R Recommendation BT.601."""


def gaussian_noise(deviation: float, *, within: tuple[float, float] | None = None) -> Transform:
    """Adds Gaussian noise to every pixel and channel of an image.

    Args:
      deviation: the noise's standard deviation, in the units of the images, >= 0.
      within: (low, high) to clip the noisy images to; None for no clipping, which is usual for
        measuring a denoiser, because the noise is then exactly Gaussian.

    Returns:
      ``(key, float images [N, H, W, C]) -> images`` of the same shape and dtype.

    Raises:
      ValueError: for a deviation that is negative or not finite, or an empty range; when called,
        for integer images.

    Source: Vincent et al., Stacked Denoising Autoencoders, JMLR 2010, section 3.3.
    """
    if not 0 <= deviation < math.inf:
        raise ValueError(
            f"the noise's standard deviation must be >= 0 and finite, got {deviation}. It is in "
            "the units of the images: 0.1 of images from 0 to 1."
        )
    if within is not None and not within[0] < within[1]:
        raise ValueError(f"within must be (low, high) with low < high, got {within}.")

    def noisy(key: jax.Array, image: jax.Array) -> jax.Array:
        _check_float("gaussian_noise", image)
        y = image + deviation * jax.random.normal(key, image.shape, image.dtype)
        return y if within is None else jnp.clip(y, *within)

    return per_example(noisy)


def masking_noise(fraction: float, *, fill: float = 0.0) -> Transform:
    """Masks pixels, each with the same probability and in all its channels.

    Args:
      fraction: the probability that a pixel is masked, in [0, 1].
      fill: the value of masked pixels, in the units of the images.

    Returns:
      ``(key, images [N, H, W, C]) -> images`` of the same shape and dtype.

    Raises:
      ValueError: if the fraction is outside [0, 1].

    Source: Vincent et al., Extracting and Composing Robust Features with Denoising Autoencoders,
    ICML 2008, section 2.3.
    """
    _check_fraction(fraction)

    def masked(key: jax.Array, image: jax.Array) -> jax.Array:
        covered = jax.random.bernoulli(key, float(fraction), (*image.shape[:2], 1))
        return jnp.where(covered, jnp.asarray(fill, image.dtype), image)

    return per_example(masked)


def salt_and_pepper(fraction: float, *, low: float = 0.0, high: float = 1.0) -> Transform:
    """Turns pixels black or white, in all their channels.

    Args:
      fraction: the probability that a pixel changes, in [0, 1]; ``low`` and ``high`` are equally
        likely.
      low: black, in the units of the images.
      high: white.

    Returns:
      ``(key, images [N, H, W, C]) -> images`` of the same shape and dtype.

    Raises:
      ValueError: if the fraction is outside [0, 1], or low is not below high.

    Source: Vincent et al., JMLR 2010, section 3.3.
    """
    _check_fraction(fraction)
    if not low < high:
        raise ValueError(f"low must be below high, got {low} and {high}.")

    def corrupted(key: jax.Array, image: jax.Array) -> jax.Array:
        where, which = jax.random.split(key)
        shape = (*image.shape[:2], 1)
        extremes = jnp.asarray([low, high], image.dtype)
        grain = extremes[jax.random.bernoulli(which, 0.5, shape).astype(jnp.int32)]
        return jnp.where(jax.random.bernoulli(where, float(fraction), shape), grain, image)

    return per_example(corrupted)


def grey(*, keep_channels: bool = True, weights: Sequence[float] = LUMA) -> Transform:
    """Removes the colours; the key is not used.

    Args:
      keep_channels: repeat the grey value in each channel, so that a network for coloured images
        can read it; otherwise the result has one channel.
      weights: of the channels in the grey value, of sum 1.

    Returns:
      ``(key, float images [N, H, W, C]) -> [N, H, W, C]`` or ``[N, H, W, 1]``.

    Raises:
      ValueError: for weights that do not sum to 1; when called, for integer images or images with
        another number of channels, such as grey ones.
    """
    if not weights or abs(sum(weights) - 1) > 1e-6:
        raise ValueError(f"weights must sum to 1, got {tuple(weights)}.")

    def transform(key: jax.Array, images: jax.Array) -> jax.Array:
        del key
        check_images(images)
        _check_float("grey", images)
        channels = images.shape[-1]
        if channels != len(weights):
            raise ValueError(
                f"images must have {len(weights)} channels, one for each weight, got shape "
                f"{images.shape}. Grey images have no colours to remove."
            )
        value = images @ jnp.asarray(weights, images.dtype)[:, None]
        return jnp.broadcast_to(value, images.shape) if keep_channels else value

    return transform


def _check_float(name: str, images: jax.Array) -> None:
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"{name} needs float images, got {images.dtype}: use it after to_unit_range() or "
            "normalize()."
        )


def _check_fraction(fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise ValueError(f"the fraction of the pixels must be in [0, 1], got {fraction}.")
