"""Activations in place of images, to train the later stages of a network whose front is frozen."""

from typing import Any

import numpy as np

from cnnlab.data.dataset import Dataset


class Features(Dataset):
    """A data set whose images are activations: float16 or float32 [N, ...], of any rank from 2.

    The later stages of a network, ``Network.tail``, train on it; ``transfer.cache`` makes them.
    """

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """The shape of an example's activations; (D,) where a stage gives vectors."""
        shape: Any = tuple(self.images.shape[1:])
        return shape

    def _check_images(self) -> None:
        shape, dtype = tuple(self.images.shape), self.images.dtype
        if dtype not in (np.float16, np.float32) or len(shape) < 2 or 0 in shape:
            raise ValueError(
                f"{self.name}: features must be float16 or float32 [N, ...] with N >= 1, got "
                f"{dtype} of shape {shape}."
            )
