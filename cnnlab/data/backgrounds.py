"""Backgrounds of scenes: photographs, or textures that are drawn."""

from __future__ import annotations

import numpy as np

from cnnlab.spelling import unknown

# The columns of each photograph (640 of them) that a part may take its backgrounds from.
_STRIPS = {"train": (0, 384), "validation": (384, 512), "test": (512, 640)}


def photographs(part: str = "train") -> np.ndarray:
    """Backgrounds from the two photographs that come with scikit-learn, china.jpg and flower.jpg.

    Args:
      part: "train", "validation" or "test": the left 384, the next 128 or the last 128 columns, so
        that no pixel is shared by the scenes of two parts.

    Returns:
      uint8 ``[2, 427, 384 or 128, 3]``.

    Raises:
      ValueError: for an unknown part.
    """
    from sklearn.datasets import load_sample_image  # noqa: PLC0415 scikit-learn is slow to import

    if part not in _STRIPS:
        raise ValueError(unknown("part", part, _STRIPS))
    first, last = _STRIPS[part]
    names = ("china.jpg", "flower.jpg")
    return np.stack([load_sample_image(name)[:, first:last] for name in names])


def window(generator: np.random.Generator, backgrounds: np.ndarray, size: int) -> np.ndarray:
    """A random window of a random background, mirrored half the time.

    Args:
      generator: for the choices.
      backgrounds: uint8 ``[B, H, W, C]``, H and W at least ``size``.
      size: S.

    Returns:
      float32 ``[S, S, C]`` in 0..255.
    """
    which = int(generator.integers(len(backgrounds)))
    top, left = (int(generator.integers(side - size + 1)) for side in backgrounds.shape[1:3])
    cut = backgrounds[which, top : top + size, left : left + size]
    if generator.random() < 0.5:
        cut = cut[:, ::-1]
    return cut.astype(np.float32)


def texture(generator: np.random.Generator, size: int, channels: int) -> np.ndarray:
    """Waves of three directions and lengths, on a slope, with noise: float32 [S, S, C]."""
    rows, columns = np.mgrid[:size, :size].astype(np.float32) / size
    level = generator.uniform(70, 185, channels)
    image = np.broadcast_to(level, (size, size, channels)).astype(np.float32)
    slope = generator.uniform(-40, 40, (2, channels))
    image += (rows - 0.5)[..., None] * slope[0] + (columns - 0.5)[..., None] * slope[1]
    for waves in (2.0, 4.0, 8.0):
        angle, phase = generator.uniform(0, 2 * np.pi, 2)
        number = 2 * np.pi * waves * generator.uniform(0.6, 1.6)
        wave = np.sin(number * (np.cos(angle) * rows + np.sin(angle) * columns) + phase)
        image += wave[..., None] * generator.uniform(3, 13, channels)
    image += generator.uniform(3, 14) * generator.standard_normal(image.shape)
    return np.clip(image, 0, 255)


def check(backgrounds: np.ndarray, size: int) -> None:
    """Checks that scenes of ``size`` x ``size`` pixels can be cut from the backgrounds.

    Raises:
      ValueError: unless they are uint8 ``[B, H, W, C]``, H and W at least ``size``.
    """
    fits = isinstance(backgrounds, np.ndarray) and backgrounds.dtype == np.uint8
    if not fits or backgrounds.ndim != 4 or 0 in backgrounds.shape:
        got = getattr(backgrounds, "dtype", type(backgrounds).__name__)
        raise ValueError(
            f"backgrounds must be uint8 [B, H, W, C], got {got} of shape {np.shape(backgrounds)}."
        )
    if min(backgrounds.shape[1:3]) < size:
        height, width = backgrounds.shape[1:3]
        raise ValueError(
            f"backgrounds must be at least as large as the scenes, {size} x {size} pixels, got "
            f"{height} x {width}. Make the scenes smaller, or give larger images."
        )
