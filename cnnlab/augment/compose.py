"""Applies transformations to a batch, and chains them."""

import dataclasses
from collections.abc import Callable

import jax
from jax import numpy as jnp

Transform = Callable[[jax.Array, jax.Array], jax.Array]
"""``(key, images [N, H, W, C]) -> images [N, H', W', C]``, pure."""


@dataclasses.dataclass(frozen=True)
class Spatial:
    """A transformation that moves pixels, after which masks and boxes no longer fit the image.

    Training with annotations refuses it. Wrap your own transformations in it if they move pixels.
    """

    transform: Transform

    def __call__(self, key: jax.Array, images: jax.Array) -> jax.Array:
        """The transformed images."""
        return self.transform(key, images)


def check_images(images: jax.Array) -> None:
    """Raises ValueError unless ``images`` is ``[N, H, W, C]``."""
    if images.ndim != 4:
        advice = "images[..., None]" if images.ndim == 3 else "reshape to four axes"
        raise ValueError(
            f"images must be [N, H, W, C], got {images.dtype} of shape {images.shape}. "
            f"For grey images or a single image add the missing axis: {advice}."
        )


def per_example(transform_one: Callable[[jax.Array, jax.Array], jax.Array]) -> Transform:
    """Applies ``(key, image [H, W, C]) -> image`` to a batch, with a separate key for each example.

    Example ``i`` of the batch gets ``fold_in(key, i)``: the transformation of a prefix of the batch
    is a prefix of the transformed batch.
    """

    def transform(key: jax.Array, images: jax.Array) -> jax.Array:
        check_images(images)
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(images.shape[0]))
        return jax.vmap(transform_one)(keys, images)

    return transform


def identity(key: jax.Array, images: jax.Array) -> jax.Array:
    """The images unchanged: no augmentation.

    ``transform is identity`` is true for this and for ``compose()`` alone.
    """
    del key
    return images


def compose(*transforms: Transform) -> Transform:
    """Applies ``transforms`` from left to right, each with its own key.

    The k-th transformation gets ``fold_in(key, k)``. A chain with a ``Spatial`` transformation in
    it is ``Spatial``; ``compose()``, without any, returns ``identity``.
    """
    if not transforms:
        return identity

    def transform(key: jax.Array, images: jax.Array) -> jax.Array:
        for index, each in enumerate(transforms):
            images = each(jax.random.fold_in(key, index), images)
        return images

    moves = any(isinstance(each, Spatial) for each in transforms)
    return Spatial(transform) if moves else transform
