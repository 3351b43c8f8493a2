"""The scenes of ``experiments.segment``: those with masks, those with a label alone, the test."""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

from experiments.scenes import backgrounds_of

if TYPE_CHECKING:
    from cnnlab.data import Dataset, Splits
    from experiments.segment import Config


class Material(NamedTuple):
    """What is learned from and measured on.

    Attributes:
      train: scenes with masks.
      test: others, of digits and backgrounds of the test parts.
      single: scenes of one digit with a label.
      single_test: others.
      notes: how they came about.
      pixels: the part of the training scenes' pixels that each class has, [K].
    """

    train: "Dataset"
    test: "Dataset"
    single: "Dataset"
    single_test: "Dataset"
    notes: str
    pixels: tuple[float, ...]

    def class_weights(self) -> tuple[float, ...]:
        """One over the part of the pixels, so that all classes weigh the same together; mean 1.

        A class that is not there counts as if it had a pixel.
        """
        least = 1 / self.train.annotations.size if self.train.annotations is not None else 0.0
        each = [1 / max(part, least) for part in self.pixels]
        return tuple(weight * len(each) / sum(each) for weight in each)


def material(config: "Config", splits: "Splits") -> Material:
    """Composes the scenes.

    Raises:
      ValueError: for images that are no digits, scenes that are too small, or unknown backgrounds.
    """
    import numpy as np

    from cnnlab.data.scenes import labelled, masked
    from cnnlab.losses.dense import check_masks

    behind = {part: backgrounds_of(config, part) for part in ("train", "test")}
    found: dict[str, Any] = {}
    for number, (name, part, count, digits) in enumerate(
        (
            ("train", "train", config.scenes, config.digits),
            ("test", "test", config.test_scenes, config.digits),
            ("single", "train", config.single_scenes, (1, 1)),
            ("single_test", "test", config.test_scenes, (1, 1)),
        )
    ):
        source = getattr(splits, part)
        scenes = config.composed(source, count, number, behind[part], digits=digits)
        made = labelled if name.startswith("single") else masked
        found[name] = made(scenes, source)
    # The encoder is to see scenes as the classifier did, so all have the classifier's statistics.
    statistics = found["single"].statistics
    found = {name: dataclasses.replace(each, statistics=statistics) for name, each in found.items()}
    train = found["train"]
    check_masks(train.annotations, train.num_classes)
    counts = np.bincount(train.annotations.ravel(), minlength=train.num_classes)
    pixels = tuple((counts / counts.sum()).tolist())
    first, most = config.digits
    notes = (
        f"{splits.notes}; {config.scenes} scenes to learn from, {config.test_scenes} to test, "
        f"{first} to {most} digits each on {config.backgrounds}, {1 - pixels[0]:.1%} of the pixels"
    )
    return Material(**found, notes=notes, pixels=pixels)
