"""The scenes that the U-Nets and the classifier learn from and are measured on."""

import dataclasses
from typing import NamedTuple

import numpy as np

from cnnlab.data import Splits
from cnnlab.data.scenes import masked
from cnnlab.losses.dense import check_masks
from cnnlab.studies.scenes import SceneData, compose_data

from .config import Config


class MaskedScenes(NamedTuple):
    """Scenes with masks, and scenes of one digit with a label alone.

    Attributes:
      data: the scenes; their annotations are the masks.
      notes: how they were composed.
      pixels: the part of the training scenes' pixels that each class has, [K].
    """

    data: SceneData
    notes: str
    pixels: tuple[float, ...]

    def class_weights(self) -> tuple[float, ...]:
        """One over the part of the pixels, so that all classes weigh the same together; mean 1.

        A class that is not there counts as if it had a pixel.
        """
        masks = self.data.train.annotations
        least = 1 / masks.size if masks is not None else 0.0
        each = [1 / max(part, least) for part in self.pixels]
        return tuple(weight * len(each) / sum(each) for weight in each)


def compose_scenes(config: Config, splits: Splits) -> MaskedScenes:
    """Composes the scenes.

    Raises:
      ValueError: for images that are no digits, scenes that are too small, or unknown backgrounds.
    """
    single = dataclasses.replace(config, digits=(1, 1))
    data = compose_data(config, splits, masked, single, config.single_scenes)
    masks = np.asarray(data.train.annotations)
    check_masks(masks, data.train.num_classes)
    counts = np.bincount(masks.ravel(), minlength=data.train.num_classes)
    pixels = tuple((counts / counts.sum()).tolist())
    first, most = config.digits
    notes = (
        f"{splits.notes}; {config.scenes} scenes to learn from, {config.test_scenes} to test, "
        f"{first} to {most} digits each on {config.backgrounds}, {1 - pixels[0]:.1%} of the pixels"
    )
    return MaskedScenes(data, notes, pixels)
