"""The grey value of a colour, and the strength of colours; images whose last axis is RGB."""

from typing import Any

import numpy as np

from cnnlab.augment.corruption import LUMA


def luma(images: Any) -> Any:
    """The grey value: ``[..., 3]`` to ``[..., 1]``, of NumPy or of jax."""
    return images @ np.asarray(LUMA, images.dtype)[:, None]


def with_luma(images: Any, seen: Any) -> Any:
    """The images' colours with the grey values of ``seen``, which are known to be right.

    Of NumPy or of jax: the loss of a colouring network is taken of its result, too, so that it need
    not learn to copy what it is shown.
    """
    return images + (luma(seen) - luma(images))


def saturation(images: np.ndarray) -> np.ndarray:
    """How strong colours are: the root mean square of ``RGB - luma``, [..., H, W, 3] to [...]."""
    strength: np.ndarray = np.sqrt(np.mean(np.square(images - luma(images)), axis=(-3, -2, -1)))
    return strength
