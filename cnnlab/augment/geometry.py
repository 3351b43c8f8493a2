"""Random flip, padded random crop and cutout.

All three keep shape and dtype, so they can be used before or after normalisation.
"""

import jax
from jax import numpy as jnp

from cnnlab.arguments import check_whole
from cnnlab.augment.compose import Spatial, Transform, per_example


def flip(probability: float = 0.5) -> Transform:
    """Mirrors each image left to right with ``probability``.

    Args:
      probability: in [0, 1].

    Raises:
      ValueError: if ``probability`` is outside [0, 1].

    Source: Krizhevsky et al., NIPS 2012, section 4.1.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must be in [0, 1], got {probability}.")

    def flip_one(key: jax.Array, image: jax.Array) -> jax.Array:
        return jnp.where(jax.random.bernoulli(key, probability), image[:, ::-1], image)

    return Spatial(per_example(flip_one))


def crop(padding: int = 4, fill: float = 0.0) -> Transform:
    """Pads each image by ``padding`` pixels on every side and crops a window of the old size.

    Each of the ``(2 padding + 1)^2`` positions is equally likely.

    Args:
      padding: pixels on each side, >= 0; 4 is usual for 32 x 32 images.
      fill: the value of the padding, in the units of the images (0 is the mean once normalised).

    Raises:
      ValueError: if ``padding`` is negative or, by the transform, larger than the images.

    Source: He et al., CVPR 2016, section 4.2 (after Lee et al., 2015).
    """
    check_whole("padding", padding, least=0)

    def crop_one(key: jax.Array, image: jax.Array) -> jax.Array:
        _check_side("the padding of crop", padding, image)
        border = ((padding, padding), (padding, padding), (0, 0))
        padded = jnp.pad(image, border, constant_values=jnp.asarray(fill, image.dtype))
        row, column = jax.random.randint(key, (2,), 0, 2 * padding + 1)
        return jax.lax.dynamic_slice(padded, (row, column, 0), image.shape)

    return Spatial(per_example(crop_one))


def cutout(size: int, fill: float = 0.0) -> Transform:
    """Covers one square of each image, its centre anywhere in the image, clipped at the border.

    Args:
      size: the side of the square in pixels, >= 1; in the paper 16 for CIFAR-10, 8 for CIFAR-100.
      fill: the value of the square, in the units of the images. The paper covers normalised
        images with 0, which is the mean: use cutout after ``normalize``.

    Raises:
      ValueError: if ``size`` is less than 1 or, by the transform, larger than the images.

    Source: DeVries & Taylor, arXiv 1708.04552, 2017.
    """
    check_whole("size", size, least=1)

    def cutout_one(key: jax.Array, image: jax.Array) -> jax.Array:
        _check_side("the square of cutout", size, image)
        height, width, _ = image.shape
        row_key, column_key = jax.random.split(key)
        top = jax.random.randint(row_key, (), 0, height) - size // 2
        left = jax.random.randint(column_key, (), 0, width) - size // 2
        rows, columns = jnp.arange(height)[:, None], jnp.arange(width)[None, :]
        inside_rows = (rows >= top) & (rows < top + size)
        inside_columns = (columns >= left) & (columns < left + size)
        covered = (inside_rows & inside_columns)[..., None]
        return jnp.where(covered, jnp.asarray(fill, image.dtype), image)

    return per_example(cutout_one)


def _check_side(what: str, pixels: int, image: jax.Array) -> None:
    """Refuses what is larger than an image [H, W, C]: of some images nothing would be left."""
    height, width, _ = image.shape
    if pixels > min(height, width):
        raise ValueError(
            f"{what} must be no larger than the images, {height} x {width} pixels, got {pixels}."
        )
