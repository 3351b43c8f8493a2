"""The data of the grid: a source, a similar and a different target, little and a lot."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cnnlab.data import Dataset, Splits, subset
from cnnlab.data.splits import class_index
from cnnlab.studies.build import load_data
from cnnlab.studies.recipe_settings import SIMILARITIES

from .config import SHUFFLED, Config


class Target(NamedTuple):
    """A task that is learned.

    Attributes:
      name: in words.
      splits: with a lot of data in its training part, and the test part.
      draws: little data, which images each seed has: int32 [M, n].
    """

    name: str
    splits: Splits
    draws: np.ndarray

    @property
    def repeated_draws(self) -> np.ndarray:
        """``draws`` repeated, [M, N], for as many steps an epoch as a lot of data."""
        length = len(self.splits.train)
        return np.tile(self.draws, -(-length // self.draws.shape[1]))[:, :length]


def load_targets(config: Config) -> tuple[Splits, dict[str, Target]]:
    """The source, and the similar and the different target.

    Raises:
      ValueError: for invalid classes or data sets.
    """
    everything = load_data(config)
    count = everything.train.num_classes
    wanted: Sequence[str | int] = config.source or range(count // 2)
    chosen = [class_index(everything.train, each) for each in wanted]
    remaining = [label for label in range(count) if label not in chosen]
    if len(chosen) < 2 or len(remaining) < 2 or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"the source must have at least 2 of the {count} classes of {config.data_name}, each "
            f"named once, and leave 2 to the similar target, got {', '.join(map(str, wanted))}."
        )
    source, similar = keep_classes(everything, chosen), keep_classes(everything, remaining)
    if config.other == SHUFFLED:
        different = shuffle_pixels(similar, config.split_seed)
    else:
        loaded = load_data(dataclasses.replace(config, dataset=config.other))
        first = range(min(len(remaining), loaded.train.num_classes))
        named: Sequence[str | int] = config.other_classes or first
        labels = [class_index(loaded.train, each) for each in named]
        different = keep_classes(loaded, labels)
    if different.train.num_classes < 2:
        raise ValueError(
            "the different target must have at least 2 classes, got "
            f"{', '.join(different.train.class_names)} of {config.other}. Name more "
            "--other-classes."
        )
    if different.train.image_shape != source.train.image_shape:
        raise ValueError(
            f"the different target must have images of the source's shape, {config.other} has "
            f"{different.train.image_shape}, {config.data_name} {source.train.image_shape}. Choose "
            f"another data set, or {SHUFFLED}."
        )
    names = (f"{config.data_name}, the other classes", config.other)
    targets = {
        similarity: _target(config, name, own)
        for similarity, name, own in zip(SIMILARITIES, names, (similar, different), strict=True)
    }
    return source, targets


def keep_classes(splits: Splits, labels: Sequence[int]) -> Splits:
    """The parts with these classes only; the statistics are those of the training part left."""
    names = [splits.train.class_names[label] for label in labels]
    train = subset(splits.train, classes=labels)
    if splits.validation is None:
        raise ValueError("there must be a validation part to choose rates by, got validation=None.")
    validation, test = (
        dataclasses.replace(subset(part, classes=labels), statistics=train.statistics)
        for part in (splits.validation, splits.test)
    )
    return Splits(train, validation, test, f"{splits.notes}; classes: {', '.join(names)}")


def shuffle_pixels(splits: Splits, seed: int) -> Splits:
    """The same images, with the pixels of all of them in the same random order."""
    height, width, channels = splits.train.image_shape
    order = np.random.default_rng(seed).permutation(height * width)

    def one(dataset: Dataset) -> Dataset:
        flat = np.asarray(dataset.images[:]).reshape(-1, height * width, channels)
        images = flat[:, order].reshape(-1, height, width, channels)
        return dataclasses.replace(dataset, images=images, name=f"{dataset.name}, shuffled")

    assert splits.validation is not None
    train, validation, test = map(one, (splits.train, splits.validation, splits.test))
    return dataclasses.replace(splits, train=train, validation=validation, test=test)


def _target(config: Config, name: str, splits: Splits) -> Target:
    train = splits.train
    if config.many is not None:
        train = dataclasses.replace(
            subset(train, per_class=config.many, seed=config.split_seed),
            statistics=train.statistics,
        )
    least = np.bincount(train.labels).min()
    if not config.few < least:
        raise ValueError(
            f"little data must be less than a lot, got {config.few} and {least} images a class of "
            f"{train.name}. Give a smaller --few, or a larger --many."
        )
    drawn = draw_examples(train, config.few, config.all_seeds)
    described = f"{name}: {', '.join(train.class_names)}"
    return Target(described, dataclasses.replace(splits, train=train), drawn)


def draw_examples(dataset: Dataset, per_class: int, seeds: Sequence[int]) -> np.ndarray:
    """For each seed ``per_class`` images of each class, int32 ``[M, n]``; smaller draws are nested.

    Raises:
      ValueError: if a class has fewer, or there are to be none.
    """
    counts = np.bincount(dataset.labels, minlength=dataset.num_classes)
    least = int(counts.argmin())
    if not 1 <= per_class <= counts[least]:
        raise ValueError(
            f"{dataset.name}: images a class must be in 1 to {counts[least]}, as many as class "
            f"{dataset.class_names[least]!r} has for training, got {per_class}."
        )
    rows = []
    for seed in seeds:
        each = [
            np.random.default_rng((seed, label)).permutation(
                np.flatnonzero(dataset.labels == label)
            )
            for label in range(dataset.num_classes)
        ]
        rows.append(np.sort(np.concatenate([order[:per_class] for order in each])))
    return np.stack(rows).astype(np.int32)
