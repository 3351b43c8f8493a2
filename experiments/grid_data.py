"""The data of the grid of transfer: a source, a similar and a different target, little and a lot.

Importing this module imports no jax.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from experiments.config import Training, load_data
from experiments.grid_claims import SIMILARITIES

if TYPE_CHECKING:
    from cnnlab.data import Dataset, Splits

SHUFFLED = "shuffled"


class Target(NamedTuple):
    """What is to be learned.

    Attributes:
      name: in words.
      splits: with a lot of data in its training part, and the test part.
      draws: little data, which images each seed has: int32 [M, n].
    """

    name: str
    splits: "Splits"
    draws: np.ndarray

    @property
    def repeated(self) -> np.ndarray:
        """``draws`` again and again, [M, N]: an epoch of little data has as many steps as a lot."""
        length = len(self.splits.train)
        return np.tile(self.draws, -(-length // self.draws.shape[1]))[:, :length]


def load_all(
    config: Training,
    source_classes: Sequence[str],
    other: str,
    other_classes: Sequence[str],
    few: int,
    many: int | None,
) -> "tuple[Splits, dict[str, Target]]":
    """The source, and the similar and the different target.

    Args:
      config: its data set, and the seeds of the draws.
      source_classes: by name or number; the first half by default.
      other: the different target: ``SHUFFLED``, or the name of a data set.
      other_classes: its classes; by default the first ones, as many as the similar target has.
      few: images a class of little data.
      many: images a class of a lot of data, or None for all.

    Raises:
      ValueError: for classes or data sets that cannot be these.
    """
    from cnnlab.data.splits import class_index

    everything = load_data(config)
    count = everything.train.num_classes
    wanted: Sequence[str | int] = source_classes or range(count // 2)
    chosen = [class_index(everything.train, each) for each in wanted]
    rest = [label for label in range(count) if label not in chosen]
    if len(chosen) < 2 or len(rest) < 2 or len(set(chosen)) < len(chosen):
        raise ValueError(
            f"the source must have at least 2 of the {count} classes of {config.dataset}, each "
            f"named once, and leave 2 to the similar target, got {', '.join(map(str, wanted))}."
        )
    source, similar = only(everything, chosen), only(everything, rest)
    if other == SHUFFLED:
        different = shuffled(similar, config.split_seed)
    else:
        loaded = load_data(dataclasses.replace(config, dataset=other))
        first = range(min(len(rest), loaded.train.num_classes))
        named: Sequence[str | int] = other_classes or first
        different = only(loaded, [class_index(loaded.train, each) for each in named])
    if different.train.num_classes < 2:
        raise ValueError(
            "the different target must have at least 2 classes, got "
            f"{', '.join(different.train.class_names)} of {other}. Name more --other-classes."
        )
    if different.train.image_shape != source.train.image_shape:
        raise ValueError(
            f"the different target must have images of the source's shape, {other} has "
            f"{different.train.image_shape}, {config.dataset} {source.train.image_shape}. Choose "
            f"another data set, or {SHUFFLED}."
        )
    names = (f"{config.dataset}, the other classes", other)
    targets = {
        similarity: _target(config, name, own, few, many)
        for similarity, name, own in zip(SIMILARITIES, names, (similar, different), strict=True)
    }
    return source, targets


def only(splits: "Splits", labels: Sequence[int]) -> "Splits":
    """The parts with these classes only; the statistics are those of the training part left."""
    from cnnlab.data import Splits, subset

    names = [splits.train.class_names[label] for label in labels]
    train = subset(splits.train, classes=labels)
    if splits.validation is None:
        raise ValueError("there must be a validation part to choose rates by, got validation=None.")
    validation, test = (
        dataclasses.replace(subset(part, classes=labels), statistics=train.statistics)
        for part in (splits.validation, splits.test)
    )
    return Splits(train, validation, test, f"{splits.notes}; classes: {', '.join(names)}")


def shuffled(splits: "Splits", seed: int) -> "Splits":
    """The same images, with the pixels of all of them in the same random order."""
    height, width, channels = splits.train.image_shape
    order = np.random.default_rng(seed).permutation(height * width)

    def one(dataset: "Dataset") -> "Dataset":
        flat = np.asarray(dataset.images[:]).reshape(-1, height * width, channels)
        images = flat[:, order].reshape(-1, height, width, channels)
        return dataclasses.replace(dataset, images=images, name=f"{dataset.name}, shuffled")

    assert splits.validation is not None
    train, validation, test = map(one, (splits.train, splits.validation, splits.test))
    return dataclasses.replace(splits, train=train, validation=validation, test=test)


def _target(config: Training, name: str, splits: "Splits", few: int, many: int | None) -> Target:
    from cnnlab.data import subset

    train = splits.train
    if many is not None:
        train = dataclasses.replace(
            subset(train, per_class=many, seed=config.split_seed), statistics=train.statistics
        )
    least = np.bincount(train.labels).min()
    if not few < least:
        raise ValueError(
            f"little data must be less than a lot, got {few} and {least} images a class of "
            f"{train.name}. Give a smaller --few, or a larger --many."
        )
    drawn = draws(train, few, config.all_seeds)
    described = f"{name}: {', '.join(train.class_names)}"
    return Target(described, dataclasses.replace(splits, train=train), drawn)


def draws(dataset: "Dataset", per_class: int, seeds: Sequence[int]) -> np.ndarray:
    """For each seed so many images of each class: int32 ``[M, n]``, a smaller draw in a larger.

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
