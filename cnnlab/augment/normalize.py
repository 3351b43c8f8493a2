"""From uint8 pixels to the float32 inputs of a network. The keys are not used."""

from collections.abc import Sequence

import jax
import numpy as np
from jax import numpy as jnp
from numpy.typing import ArrayLike

from cnnlab.augment.compose import Transform, check_images


def normalize(mean: Sequence[float], std: Sequence[float]) -> Transform:
    """Subtracts the mean and divides by the standard deviation of each channel.

    Args:
      mean: one number a channel, in pixel units (0-255), such as ``dataset.statistics.mean``.
      std: one number a channel, in pixel units, > 0.

    Returns:
      ``(key, images [N, H, W, C] of any real dtype in 0-255) -> float32 [N, H, W, C]``.

    Raises:
      ValueError: if the lengths differ, if a number is not finite or a deviation not positive, or,
        when called, if the images have another number of channels.
    """
    means, stds = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    if means.ndim != 1 or means.shape != stds.shape:
        raise ValueError(
            "mean and std must hold one number a channel each, "
            f"got shapes {means.shape} and {stds.shape}."
        )
    if not np.isfinite(means).all():
        raise ValueError(f"mean must be finite, got {means.tolist()}.")
    with np.errstate(divide="ignore", over="ignore"):
        if not ((stds > 0) & np.isfinite(stds) & np.isfinite(1 / stds)).all():
            raise ValueError(f"std must be positive and finite, got {stds.tolist()}.")

    def transform(key: jax.Array, images: jax.Array) -> jax.Array:
        del key
        check_images(images)
        if images.shape[-1] != means.size:
            raise ValueError(
                f"images must have {means.size} channels, as mean and std do, "
                f"got shape {images.shape}."
            )
        return (images.astype(jnp.float32) - means) * (1 / stds)

    return transform


def subtract_mean_image(mean_image: ArrayLike, scale: float = 1.0) -> Transform:
    """Subtracts the training set's mean image and divides by ``scale``.

    Args:
      mean_image: ``[H, W, C]`` in pixel units, such as ``dataset.statistics.mean_image``.
      scale: one divisor for all pixels, > 0.

    Returns:
      ``(key, images [N, H, W, C]) -> float32 [N, H, W, C]``.

    Raises:
      ValueError: if ``mean_image`` has not three axes, if it or ``scale`` is not finite, or, when
        called, if it has not the images' shape.

    Source: Krizhevsky et al., NIPS 2012, section 2.
    """
    mean = np.asarray(mean_image, np.float32)
    if mean.ndim != 3:
        raise ValueError(f"mean_image must be [H, W, C], got shape {mean.shape}.")
    if not np.isfinite(mean).all():
        raise ValueError("mean_image must be finite, got NaN or an infinity in it.")
    if not 0 < scale < float("inf"):
        raise ValueError(f"scale must be positive and finite, got {scale}.")

    def transform(key: jax.Array, images: jax.Array) -> jax.Array:
        del key
        check_images(images)
        if images.shape[1:] != mean.shape:
            raise ValueError(
                f"images must be [N, {', '.join(map(str, mean.shape))}], as the mean image is, "
                f"got shape {images.shape}."
            )
        return (images.astype(jnp.float32) - mean) / scale

    return transform


def to_unit_range() -> Transform:
    """Divides pixels by 255: ``(key, images [N, H, W, C] in 0-255) -> float32 in [0, 1]``."""

    def transform(key: jax.Array, images: jax.Array) -> jax.Array:
        del key
        check_images(images)
        return images.astype(jnp.float32) / 255

    return transform
