"""What trained networks say of images that nobody has labelled: arrays, or image files."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from cnnlab.data import Dataset, read_image
from cnnlab.train import Recipe, TrainState, predict

ImagesOrPaths = np.ndarray | Sequence[str | os.PathLike[str]]


def read_images(
    paths: Sequence[str | os.PathLike[str]], image_shape: tuple[int, int, int]
) -> np.ndarray:
    """Images from files, as an image folder's are read: uint8 ``[n, H, W, C]``.

    Args:
      paths: of n files, n >= 1.
      image_shape: ``(H, W, C)``; C is 3, or 1 for grey, as ITU-R BT.601 weighs red, green and blue.

    Raises:
      ValueError: if a file cannot be read as an image, or for another C.
    """
    height, width, channels = image_shape
    if channels not in (1, 3):
        raise ValueError(
            f"the network takes images of {channels} channels, which image files do not have: give "
            "an array."
        )
    images = np.stack([read_image(pathlib.Path(path), (height, width)) for path in paths])
    return images if channels == 3 else to_grey(images)


def to_grey(images: np.ndarray) -> np.ndarray:
    """uint8 RGB ``[..., 3]`` as grey ``[..., 1]``, with Pillow's integer weights of BT.601."""
    weighted = images.astype(np.int32) @ np.array([19595, 38470, 7471], np.int32) + 0x8000
    return (weighted >> 16).astype(np.uint8)[..., None]


def probabilities(
    recipe: Recipe,
    states: TrainState,
    images: ImagesOrPaths,
    image_shape: tuple[int, int, int],
    batch_size: int = 256,
) -> np.ndarray:
    """The probability of each class for each image, the mean over the networks.

    Args:
      recipe: of the networks.
      states: ``[M, ...]``.
      images: uint8 ``[n, H, W, C]``, or the paths of n files; n >= 1.
      image_shape: ``(H, W, C)`` of the networks' images.
      batch_size: images at a time.

    Returns:
      float32 ``[n, K]``.

    Raises:
      ValueError: for images of another shape or dtype, or files that are no images.
    """
    if isinstance(images, str | os.PathLike):
        raise ValueError(
            f"images must be an array or several paths, got one: [{os.fspath(images)!r}]."
        )
    if not isinstance(images, np.ndarray):
        if not len(images):
            raise ValueError("give one image or more, got none.")
        images = read_images(images, image_shape)
    if images.shape[1:] != image_shape or images.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8 [n, {', '.join(map(str, image_shape))}], 0 to 255, got "
            f"{images.dtype} of shape {images.shape}."
        )
    dataset = Dataset(images, np.zeros(len(images), np.int32), ("unknown",), "images")
    logits = predict(recipe, states, dataset, batch_size=batch_size)
    mean: np.ndarray = softmax(logits.astype(np.float64), axis=-1).mean(axis=0)
    return mean.astype(np.float32)
