"""The data set, and its images as the network sees them beside what it is to reconstruct."""

from typing import NamedTuple

import jax
import numpy as np

from cnnlab.augment import Transform, compose, corruption
from cnnlab.data import Dataset, Splits
from cnnlab.keys import run_key, stream_key
from cnnlab.studies import build

from .config import Config, is_photographs
from .photographs import load_patches

_CHUNK = 500  # images that are corrupted at a time


class Pairs(NamedTuple):
    """Corrupted images and the clean ones, float32 from 0 to 1.

    Attributes:
      seen: ``[N, H, W, C]``, corrupted.
      clean: ``[N, H, W, C']``, what to reconstruct.
    """

    seen: np.ndarray
    clean: np.ndarray


def load(config: Config) -> Splits:
    """The data that the config names."""
    if not is_photographs(config.dataset):
        return build.load_data(config)
    return load_patches(
        config.dataset,
        per_class=config.per_class,
        fraction=config.fraction,
        seed=config.split_seed,
    )


def make_corruption(config: Config) -> Transform:
    """The corruption of the config's task, of images from 0 to 1."""
    if config.task == "plain":
        return compose()
    if config.task == "colour":
        return corruption.grey()
    if config.noise == "gaussian":
        return corruption.gaussian_noise(config.amount)
    if config.noise == "masking":
        return corruption.masking_noise(config.amount)
    return corruption.salt_and_pepper(config.amount)


def corrupt_images(config: Config, dataset: Dataset, part: str) -> Pairs:
    """The images with the config's corruption, which is the same whatever the seeds.

    Args:
      config: of the experiment.
      dataset: the part.
      part: its name, which has a noise of its own.
    """
    corrupt = jax.jit(make_corruption(config))
    key = run_key(config.split_seed)
    clean, seen = [], []
    for index, start in enumerate(range(0, len(dataset), _CHUNK)):
        images = np.asarray(dataset.images[start : start + _CHUNK], np.float32) / 255
        clean.append(images)
        seen.append(np.asarray(corrupt(stream_key(key, f"corrupt {part}", index), images)))
    return Pairs(np.concatenate(seen), np.concatenate(clean))
