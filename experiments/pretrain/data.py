"""The images that have labels, and whether a config fits the data."""

from collections.abc import Sequence

import numpy as np

from cnnlab.data import Dataset
from cnnlab.studies import build
from cnnlab.train import check_fits
from cnnlab.transfer import stacking

from .config import Config


def check_data(config: Config, train: Dataset) -> None:
    """Refuses numbers of images and networks that do not fit the training part.

    Raises:
      ValueError: for these; the message says what would fit.
    """
    smallest = int(np.bincount(train.labels, minlength=train.num_classes).min())
    fits = all(1 <= count <= smallest for count in config.labels)
    if not config.labels or not fits or len(set(config.labels)) < len(config.labels):
        raise ValueError(
            f"labels must be numbers of images a class, each given once, of 1 to {smallest}, as "
            f"many as the smallest class has, got {config.labels}."
        )
    if config.pretrain_batch_size > len(train):
        raise ValueError(
            f"pretrain_batch_size must be at most {len(train)}, as many as there are training "
            f"images, got {config.pretrain_batch_size}."
        )
    stacking.masking(config.corruption)  # refuses
    for method in config.methods:
        check_fits(build.make_recipe(config.for_method(method), train), train)


def draw_labelled(
    labels: np.ndarray, count: int, seeds: Sequence[int], *, same: bool = False
) -> np.ndarray:
    """Which images have labels, int64 ``[M, K * count]``: so many of each class for each seed.

    The images of a smaller count are among those of a larger one.

    Args:
      labels: int ``[N]``; each class has ``count`` images or more.
      count: of each class.
      seeds: of the draws.
      same: draw for the first seed, and give its images to all.
    """

    def draw(seed: int) -> np.ndarray:
        generator = np.random.Generator(np.random.PCG64([seed, 0x1ABE1]))
        classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        return np.sort(np.concatenate([generator.permutation(own)[:count] for own in classes]))

    return np.stack([draw(seeds[0] if same else seed) for seed in seeds])


def repeat_images(subsets: np.ndarray, images: int) -> np.ndarray:
    """Each row repeated to at least ``images`` images in an epoch."""
    if subsets.shape[1] >= images:
        return subsets
    return np.stack([np.resize(row, images) for row in subsets])
