"""Test-time views: several versions of the same images, whose predictions are averaged.

The views of a batch are made together and without randomness; they keep the dtype, so they can be
used before or after normalisation.

    from cnnlab.augment import views

    ten = views.ten_crop(28)
    ten(images)  # [10, N, 28, 28, C]
    views.product(views.shifts(1), views.mirror()).names  # 10 texts
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
from jax import numpy as jnp

from cnnlab.augment.compose import check_images

_SAME = "identity"  # left out of the names of products


@dataclasses.dataclass(frozen=True)
class Views:
    """``images [N, H, W, C] -> [V, N, h, w, C]``, pure, for uint8 or float; keeps the dtype.

    Attributes:
      names: one text for each of the V views.
      make: the function itself.
    """

    names: tuple[str, ...]
    make: Callable[[jax.Array], jax.Array]

    def __len__(self) -> int:
        return len(self.names)

    def __call__(self, images: jax.Array) -> jax.Array:
        """See the class.

        Raises:
          ValueError: if the images are not [N, H, W, C] or too small for these views.
        """
        check_images(images)
        return self.make(jnp.asarray(images))


def identity() -> Views:
    """The images unchanged: one view."""
    return Views((_SAME,), lambda images: images[None])


def mirror() -> Views:
    """The images, and the same mirrored left to right: two views."""
    return Views((_SAME, "mirror"), lambda images: jnp.stack([images, images[:, :, ::-1]]))


def shifts(pixels: int) -> Views:
    """The images, and the same moved left, right, up and down by ``pixels``: five views.

    The edge is filled by repeating the border pixels.

    Args:
      pixels: >= 1, and less than the height and the width.

    Raises:
      ValueError: if ``pixels`` is less than 1 or, when called, not less than height and width.
    """
    if pixels < 1:
        raise ValueError(f"pixels must be at least 1, got {pixels}.")
    names = (_SAME, *(f"{side} {pixels}" for side in ("left", "right", "up", "down")))
    # Where in the padded image each window begins.
    middle = pixels
    starts = [
        (middle, middle),
        (middle, 2 * pixels),
        (middle, 0),
        (2 * pixels, middle),
        (0, middle),
    ]

    def make(images: jax.Array) -> jax.Array:
        _, height, width, _ = images.shape
        if pixels >= min(height, width):
            raise ValueError(
                f"images must be larger than a shift of {pixels} pixels, got shape {images.shape}."
            )
        border = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
        padded = jnp.pad(images, border, mode="edge")
        return jnp.stack([_window(padded, *start, height, width) for start in starts])

    return Views(names, make)


def ten_crop(size: int) -> Views:
    """The four corners and the centre, and then the same five mirrored: ten views.

    Where the margin is odd, the centre of the mirrored image is not quite the mirrored centre.

    Args:
      size: the side of the crops in pixels, >= 1.

    Raises:
      ValueError: if ``size`` is less than 1 or, when called, larger than the images.

    Source: Krizhevsky et al., NIPS 2012, section 4.1 (224 of 256 x 256); the same crops as
    torchvision's ``ten_crop``, which has the mirrored ones from the right to the left.
    """
    if size < 1:
        raise ValueError(f"the crops must be at least 1 pixel, got {size}.")
    five = ("top left", "top right", "bottom left", "bottom right", "centre")

    def make(images: jax.Array) -> jax.Array:
        _, height, width, _ = images.shape
        if size > min(height, width):
            raise ValueError(
                f"images must be at least as large as the crops of {size} x {size} pixels, got "
                f"shape {images.shape}. Take smaller crops, or scales() to enlarge the images."
            )
        down, right = height - size, width - size
        # An odd margin has its half rounded to even, as torchvision does.
        centre = (round(down / 2), round(right / 2))
        starts = [(0, 0), (0, right), (down, 0), (down, right), centre]
        crops = jnp.stack([_window(images, *start, size, size) for start in starts])
        mirrored = crops[:, :, :, ::-1].at[4].set(_window(images[:, :, ::-1], *centre, size, size))
        return jnp.concatenate([crops, mirrored])

    return Views((*five, *(f"{name}, mirror" for name in five)), make)


def scales(sizes: Sequence[int], crop: int) -> Views:
    """Ten crops at each of several scales.

    The images are resized (linear, antialiased when they shrink) to these lengths of their shorter
    side, keeping the aspect ratio, the longer one rounded down. Resized uint8 images are rounded.

    Args:
      sizes: of the shorter side in pixels, one or more.
      crop: the side of the crops, at most the smallest of ``sizes``.

    Raises:
      ValueError: if there is no size, or one that is smaller than the crops.

    Source: Simonyan & Zisserman, ICLR 2015, section 4.3 (several scales by several crops); He et
    al., CVPR 2016, section 3.4, average over {224, 256, 384, 480, 640}, whole images there.
    """
    crops = ten_crop(crop)
    if not sizes or min(sizes) < crop:
        raise ValueError(
            f"sizes must be one or more numbers of pixels, at least the {crop} of the crops, got "
            f"{list(sizes)}."
        )
    names = tuple(f"{size} pixels, {name}" for size in sizes for name in crops.names)

    def make(images: jax.Array) -> jax.Array:
        return jnp.concatenate([crops(_resize_shorter_side(images, size)) for size in sizes])

    return Views(names, make)


def product(first: Views, second: Views) -> Views:
    """All views ``second`` of all views ``first``; those of ``second`` vary fastest."""
    names = tuple(
        ", ".join(name for name in pair if name != _SAME) or _SAME
        for pair in ((a, b) for a in first.names for b in second.names)
    )

    def make(images: jax.Array) -> jax.Array:
        both = jax.vmap(second)(first(images))
        return both.reshape(-1, *both.shape[2:])

    return Views(names, make)


def _window(images: jax.Array, top: int, left: int, height: int, width: int) -> jax.Array:
    return images[:, top : top + height, left : left + width]


def _resize_shorter_side(images: jax.Array, size: int) -> jax.Array:
    """``images`` with a shorter side of ``size`` pixels."""
    count, height, width, channels = images.shape
    shorter = min(height, width)
    if shorter == size:
        return images
    # Rounded down, as torchvision does.
    shape = (count, height * size // shorter, width * size // shorter, channels)
    wide = images.astype(jnp.promote_types(images.dtype, jnp.float32))
    resized = jax.image.resize(wide, shape, "linear", antialias=True)
    if jnp.issubdtype(images.dtype, jnp.integer):
        resized = jnp.round(resized)  # a mean of pixels: it stays within their range
    return resized.astype(images.dtype)
