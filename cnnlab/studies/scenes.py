"""The four data sets of an experiment on scenes: two with annotations, two with a label alone."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cnnlab import data
from cnnlab.data import Dataset, Splits
from cnnlab.data.backgrounds import photographs
from cnnlab.data.scenes import Scenes, compose, labelled
from cnnlab.spelling import unknown
from cnnlab.studies.scene_settings import SceneTraining

_MOST_BACKGROUNDS = 2000  # images of a data set


class SceneData(NamedTuple):
    """Scenes, composed of digits and backgrounds that the parts do not share.

    Attributes:
      train: annotated scenes to learn from.
      test: others, of the test part's digits and backgrounds.
      single: images of one digit with a label, for a classifier.
      single_test: others, of the test part.
      test_scenes: the masks, boxes and classes of ``test``.
    """

    train: Dataset
    test: Dataset
    single: Dataset
    single_test: Dataset
    test_scenes: Scenes


def compose_data(
    config: SceneTraining,
    splits: Splits,
    annotate: Callable[[Scenes, Dataset], Dataset],
    single: SceneTraining,
    count: int,
) -> SceneData:
    """Composes the scenes; all have the statistics of the classifier's images.

    So a network that begins with a classifier's stages sees images as the classifier did.

    Args:
      config: how scenes are composed, and how many.
      splits: the digits.
      annotate: makes a data set of scenes and of the digits that they were made of.
      single: how the images of one digit are composed.
      count: of these images in the training part; the test part has as many as scenes.

    Raises:
      ValueError: for images that are no digits, scenes that are too small, or unknown backgrounds.
    """
    backgrounds = {part: load_backgrounds(config, part) for part in ("train", "test")}

    def draw(number: int, part: str, how: SceneTraining, images: int) -> Scenes:
        return compose(
            getattr(splits, part),
            count=images,
            size=how.scene_size,
            digits=how.digits,
            backgrounds=backgrounds[part],
            scale=how.scale,
            contrast=how.contrast,
            seed=4 * config.split_seed + number,  # random numbers of its own for each data set
        )

    test_scenes = draw(1, "test", config, config.test_scenes)
    train = annotate(draw(0, "train", config, config.scenes), splits.train)
    test = annotate(test_scenes, splits.test)
    classified = labelled(draw(2, "train", single, count), splits.train)
    classified_test = labelled(draw(3, "test", single, config.test_scenes), splits.test)
    train, test, classified_test = (
        dataclasses.replace(each, statistics=classified.statistics)
        for each in (train, test, classified_test)
    )
    return SceneData(train, test, classified, classified_test, test_scenes)


def load_backgrounds(config: SceneTraining, part: str) -> np.ndarray | None:
    """The backgrounds of a part's scenes: uint8 ``[B, H, W, C]``, or None for textures.

    Raises:
      ValueError: for an unknown name; the message lists the valid ones.
    """
    if config.backgrounds == "textures":
        return None
    if config.backgrounds == "photographs":
        return photographs(part)
    name, folder = config.backgrounds, config.backgrounds.partition(":")[0] == "folder"
    if name.partition(":")[0] not in data.names():
        raise ValueError(unknown("backgrounds", name, ("textures", "photographs", *data.names())))
    size = 2 * config.scene_size if folder else None
    splits = data.load(name, config.data_dir, validation=None, image_size=size)
    images = getattr(splits, part).images
    chosen = np.linspace(0, len(images) - 1, min(len(images), _MOST_BACKGROUNDS)).astype(int)
    return np.asarray(images[chosen])
