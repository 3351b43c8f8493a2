"""The scenes of ``experiments.segment``: those with masks, those with a label alone, the test."""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Dataset, Splits
    from experiments.segment import Config

_MOST_BACKGROUNDS = 2000  # images of a data set


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

    from cnnlab.data.scenes import compose, labelled, masked
    from cnnlab.losses_dense import check_masks

    behind = {part: _backgrounds(config, part) for part in ("train", "test")}
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
        scenes = compose(
            source,
            count=count,
            size=config.size,
            digits=digits,
            scale=config.scale,
            contrast=config.contrast,
            backgrounds=behind[part],
            seed=4 * config.split_seed + number,
        )
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


def _backgrounds(config: "Config", part: str) -> "np.ndarray | None":
    """What is behind the scenes of a part: uint8 [B, H, W, C], or None for textures."""
    import numpy as np

    from cnnlab import data
    from cnnlab.data.backgrounds import photographs
    from cnnlab.spelling import unknown

    if config.backgrounds == "textures":
        return None
    if config.backgrounds == "photographs":
        return photographs(part)
    name, folder = config.backgrounds, config.backgrounds.partition(":")[0] == "folder"
    if name.partition(":")[0] not in data.names():
        raise ValueError(unknown("backgrounds", name, ("textures", "photographs", *data.names())))
    settings: dict[str, Any] = {"image_size": 2 * config.size} if folder else {}
    splits = data.load(name, config.data_dir, validation=None, **settings)
    images = getattr(splits, part).images
    chosen = np.linspace(0, len(images) - 1, min(len(images), _MOST_BACKGROUNDS)).astype(int)
    return np.asarray(images[chosen])
