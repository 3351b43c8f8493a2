"""Labels of a data set in the order of a network's classes: they are matched by name."""

import dataclasses
import re

import numpy as np

from cnnlab.data import Dataset
from cnnlab.spelling import some


def in_order_of(
    dataset: Dataset,
    class_names: tuple[str, ...],
    whose: str,
    *,
    numbered: bool = False,
    advice: str = "",
) -> Dataset:
    """The data set with the labels of a network's classes.

    Args:
      dataset: labelled images.
      class_names: of the network, by its outputs.
      whose: they are, in messages.
      advice: what to do about other classes, for the message.
      numbered: whether as many classes that are just numbered in the data, or named after their
        folders in ImageNet (n01440764 …), are taken to be the network's, in its order.

    Returns:
      The data set itself where the names are the same in the same order; one with other labels
      where they are the same in another order.

    Raises:
      ValueError: if the classes are others.
    """
    ours, theirs = tuple(dataset.class_names), tuple(class_names)
    if ours == theirs or (numbered and len(ours) == len(theirs) and _unnamed(ours)):
        return dataset
    if len(set(theirs)) < len(theirs) or set(ours) != set(theirs):
        lacking = [name for name in theirs if name not in ours] or ["none"]
        further = [name for name in ours if name not in theirs] or ["none"]
        raise ValueError(
            f"{whose} tells apart other classes than {dataset.name} has. Only the network has "
            f"{some(lacking)}; only the data have {some(further)}.{advice}"
        )
    place = np.asarray([theirs.index(name) for name in ours], np.int32)
    targets = None if dataset.targets is None else dataset.targets[:, np.argsort(place)]
    labels = place[dataset.labels]
    return dataclasses.replace(dataset, labels=labels, class_names=theirs, targets=targets)


def _unnamed(names: tuple[str, ...]) -> bool:
    """True where classes are just numbered, or are the folders of ImageNet in their order."""
    numbers = names == tuple(map(str, range(len(names))))
    folders = all(re.fullmatch(r"n\d{8}", name) for name in names) and names == tuple(sorted(names))
    return numbers or folders
