"""Patches of the two photographs that come with scikit-learn, for want of a coloured data set.

``photographs`` or ``photographs:SIZE``: china.jpg and flower.jpg, 427 x 640 pixels each, whose
parts are those of ``cnnlab.data.backgrounds``: the right fifth of each is the test part, the fifth
left of it the validation part, so that no pixel is in two parts. But the parts are of the same
photographs: what does well here knows these two, and nothing is said of others.
"""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from cnnlab.data import Dataset, Splits

NAME = "photographs"
PHOTOGRAPHS = ("china", "flower")
CONDITION = (
    "adjoining patches of two photographs are taken for independent images; nothing is said of "
    "other photographs"
)
"""What intervals over these images are under."""


def named(dataset: str) -> bool:
    """Whether the data set is this one."""
    return dataset.partition(":")[0] == NAME


def patches(
    name: str = NAME, *, per_class: int | None = None, fraction: float | None = None, seed: int = 0
) -> "Splits":
    """The photographs cut in squares, which do not overlap.

    Args:
      name: "photographs" (16 pixels a side) or "photographs:SIZE".
      per_class: train on so many of each photograph only.
      fraction: train on this part only.
      seed: of that choice.

    Raises:
      ValueError: for a name that does not read so, or a size that does not fit.
    """
    from cnnlab.data import Splits, subset
    from cnnlab.data.backgrounds import photographs
    from cnnlab.data.dataset import compute_statistics

    size = _size(name)
    train, validation, held = (
        _cut(photographs(part), size) for part in ("train", "validation", "test")
    )
    train = subset(train, per_class=per_class, fraction=fraction, seed=seed)
    statistics = compute_statistics(train)
    return Splits(
        dataclasses.replace(train, statistics=statistics),
        dataclasses.replace(validation, statistics=statistics),
        dataclasses.replace(held, statistics=statistics),
        f"patches of {size} x {size} pixels of two photographs; test: the right fifth of each, "
        "validation: the fifth left of it",
    )


def _size(name: str) -> int:
    _, _, text = name.partition(":")
    if not text:
        return 16
    if not text.isdecimal() or not 2 <= int(text) <= 80:
        raise ValueError(
            "photographs must be named photographs or photographs:SIZE with a side of 2 to 80 "
            f"pixels, got {name!r}."
        )
    return int(text)


def _cut(pictures: np.ndarray, size: int) -> "Dataset":
    from cnnlab.data import Dataset

    images, labels = [], []
    for label, picture in enumerate(pictures):
        windows = np.lib.stride_tricks.sliding_window_view(picture, (size, size), axis=(0, 1))
        found = windows[::size, ::size].reshape(-1, 3, size, size).transpose(0, 2, 3, 1)
        images.append(found)
        labels.append(np.full(len(found), label, np.int32))
    every = np.ascontiguousarray(np.concatenate(images))
    return Dataset(every, np.concatenate(labels), PHOTOGRAPHS, NAME)
