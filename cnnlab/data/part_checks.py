"""Checks of the final parts: which images they share, and whether their values can be right.

An accuracy on test images that were trained on means nothing. Images in memory are compared by
their pixels, the files of a folder that stay on the disk by their contents, whatever their names.
"""

from __future__ import annotations

import collections
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from cnnlab.data.dataset import Dataset, Images, Selection, Statistics, chunks
from cnnlab.data.folder_images import FolderImages

_SAMPLE = 64  # images of a lazy part that are looked at, unless they look wrong
_FAR = 5  # so many deviations above the mean of a network's images is worth a warning
_RANGES = 4  # so many times the highest value of another part is worth a note

Title = Literal["training", "validation", "test"]
File = tuple[FolderImages, int]


def check_parts(parts: Mapping[Title, Dataset], published: Collection[Title]) -> list[str]:
    """Notes on images that the parts share and on their values.

    Args:
      parts: the training part and the others.
      published: those of the others that came as parts, and were not split off here.

    Returns:
      A note for each pair of parts that share images, one of images that have several classes, and
      one of parts whose highest values differ much.

    Raises:
      ValueError: if more than half of a published part is in the training or another published
        part, all training images are the same, or the values of a part are only 0 and 1.
    """
    return _check_values(parts) + _check_shared(parts, published)


def check_files(training: FolderImages, other: FolderImages, title: Title, name: str) -> list[str]:
    """As ``check_parts``, of the files of a published part where one of the two is in memory."""
    ours, theirs = _file_keys([_files(other) or [], _files(training) or []])
    count = int(np.isin(ours, theirs).sum())
    _refuse_copy(name, title, len(ours), count, "training")
    return _shared_note(title, len(ours), count, "training")


def warn_of_range(dataset: Dataset, statistics: Statistics | None, whose: str) -> None:
    """Warns where images cannot have the range of those that a network was trained on.

    That is where their highest value is below the mean of those, or their mean is far above it.

    Args:
      dataset: the images.
      statistics: of the network's training images; None where they are not known.
      whose: they are, such as "the network of digits-1".
    """
    if statistics is None:
        return
    mean, std = float(np.mean(statistics.mean)), float(np.mean(statistics.std))
    sample = _sample(dataset.images)
    if mean > int(sample.max()) or sample.mean() > mean + _FAR * std:
        warnings.warn(
            f"the images of {dataset.name} have values of {sample.min()} to {sample.max()}, mean "
            f"{sample.mean():.0f}; those that {whose} was trained on had a mean of {mean:.0f} and "
            f"a deviation of {std:.0f}. Scale them alike.",
            stacklevel=3,
        )


def _check_shared(parts: Mapping[Title, Dataset], published: Collection[Title]) -> list[str]:
    keys: dict[Title, np.ndarray] = {}
    in_memory = {t: p.images for t, p in parts.items() if isinstance(p.images, np.ndarray)}
    keys |= {title: _pixel_keys(images) for title, images in in_memory.items()}
    on_disk = {t: found for t, part in parts.items() if (found := _files(part.images)) is not None}
    keys |= dict(zip(on_disk, _file_keys(list(on_disk.values())), strict=True))
    groups = [[t for t in parts if t in in_memory], [t for t in parts if t in on_disk]]
    name, notes = parts["training"].name, []
    pairs: list[tuple[Title, Title]] = [
        *(("test", "training"), ("validation", "training")),
        ("test", "validation"),
    ]
    for title, other in pairs:
        if not any(title in group and other in group for group in groups):
            continue  # the other is not there, or is not to be compared
        within = np.isin(keys[title], keys[other])
        if title in published and other == "training":
            pool: list[Title] = [other]
            if "validation" in keys and "validation" not in published:
                pool.append("validation")
            among = np.isin(keys[title], np.concatenate([keys[t] for t in pool]))
            _refuse_copy(name, title, len(within), int(among.sum()), "training")
        elif title in published and other in published:
            _refuse_copy(name, title, len(within), int(within.sum()), other)
        notes += _shared_note(title, len(within), int(within.sum()), other)
    for group in groups:
        if group:
            labels = np.concatenate([parts[title].labels for title in group])
            notes += _classes_note(np.concatenate([keys[title] for title in group]), labels)
    return notes


def _refuse_copy(name: str, title: str, count: int, shared: int, other: str) -> None:
    if shared > count / 2:
        raise ValueError(
            f"{name}: the {title} part must have images of its own, but {shared} of its {count} "
            f"are in the {other} part, too. Remove it, so that a part is split off the training "
            "part, or give it other images."
        )


def _shared_note(title: str, count: int, shared: int, other: str) -> list[str]:
    if not shared:
        return []
    return [f"{shared} of the {count} {title} images are in the {other} part, too"]


def _classes_note(keys: np.ndarray, labels: np.ndarray) -> list[str]:
    both = np.unique(np.stack([keys, labels.astype(np.uint64)], 1), axis=0)
    _, classes = np.unique(both[:, 0], return_counts=True)
    several = int((classes > 1).sum())
    return [f"{several} images are in several classes"] if several else []


def _files(images: Images) -> list[File] | None:
    """The files of the images; None where they are not files of a folder."""
    indices: Sequence[int] = range(len(images))
    source = images
    if isinstance(images, Selection):
        source, indices = images.source, images.indices.tolist()
    if not isinstance(source, FolderImages):
        return None
    return [(source, index) for index in indices]


def _pixel_keys(images: np.ndarray) -> np.ndarray:
    """uint64 [N], equal where images are. Of this process only: Python's hash is the fastest."""
    return np.fromiter((hash(image.tobytes()) for image in images), np.int64).view(np.uint64)


def _file_keys(parts: Iterable[list[File]]) -> list[np.ndarray]:
    """uint64 [N] of each part, equal where the contents of files are.

    Only files of which a sample is the same are read to their ends.
    """
    parts = list(parts)
    samples = [[images.content(index) for images, index in files] for files in parts]
    counts = collections.Counter(sample for part in samples for sample in part)
    keys = []
    for files, part in zip(parts, samples, strict=True):
        exact = [
            (sample, images.digest(index) if counts[sample] > 1 else 0)
            for (images, index), sample in zip(files, part, strict=True)
        ]
        keys.append(np.array([hash(key) % 2**64 for key in exact], np.uint64))
    return keys


def _check_values(parts: Mapping[Title, Dataset]) -> list[str]:
    name = parts["training"].name
    _refuse_constant(parts["training"])
    highest = {title: _highest(part.images) for title, part in parts.items()}
    for title, value in highest.items():
        if value <= 1:
            beside = f", beside up to {highest['training']} in training" * (title != "training")
            raise ValueError(
                f"{name}: images must have values of 0 to 255, but those of the {title} part are "
                f"only 0 and 1{beside}. Multiply them by 255."
            )
    low, high = min(highest, key=highest.__getitem__), max(highest, key=highest.__getitem__)
    if highest[high] <= _RANGES * highest[low]:
        return []
    return [
        f"the highest value is {highest[high]} in the {high} and {highest[low]} in the {low} part"
    ]


def _refuse_constant(training: Dataset) -> None:
    sample = _sample(training.images)
    if (sample != sample[0]).any():
        return
    if all((chunk == sample[0]).all() for chunk in chunks(training.images)):
        raise ValueError(
            f"{training.name}: the training images must differ, but all {len(training)} are the "
            "same. Look at how they were saved."
        )


def _highest(images: Images) -> int:
    """The highest value; of lazy images that of a sample, unless that is 0 or 1."""
    if isinstance(images, np.ndarray):
        return int(images.max())
    value = int(_sample(images).max())
    return value if value > 1 else max(int(chunk.max()) for chunk in chunks(images))


def _sample(images: Images) -> np.ndarray:
    return images[:: max(1, len(images) // _SAMPLE)]
