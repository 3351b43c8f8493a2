"""The settings of ``experiments.transfer_grid``."""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal

import tyro

from cnnlab.spelling import unknown
from cnnlab.studies.recipe_settings import EARLY, RECIPES
from cnnlab.studies.settings import Training

SHUFFLED = "shuffled"
"""The different target that is the similar one with its pixels in another order."""


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train a source, then all recipes with little and a lot of similar and different data."""

    earlier_names: ClassVar[Mapping[str, str]] = {"rates": "learning_rates"}

    source: tuple[str, ...] = ()
    """Classes of the source, by name or number; the first half of them by default."""
    other: str = SHUFFLED
    """The different target: "shuffled", or a data set with images of the same shape."""
    other_classes: tuple[str, ...] = ()
    """Its classes; by default the first ones, as many as the similar target has."""
    few: int = 4
    """Little data: this many images a class."""
    many: int | None = 80
    """A lot of data: this many images a class, or None for all of them."""
    source_epochs: int = 8
    """Passes over the source's data."""
    recipes: tuple[str, ...] = ("linear", EARLY, "top", "all", "scratch")
    """Of linear, early, top, all, layerwise, gradual, scratch."""
    learning_rates: tuple[float, ...] = (1e-2, 3e-2)
    """The learning rates that every recipe is tried at."""
    early: tuple[str, ...] = ()
    """Stages that "early" tries a linear classifier on; the middle one by default."""

    model: str = "lenet5"
    model_options: tuple[str, ...] = ("padding=SAME",)
    """Further settings of the model; of another model than lenet5 none by default."""
    epochs: int = 3
    """Passes over a lot of data; little data are shown as many times as many images."""
    batch_size: int = 8
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adam"
    learning_rate: float = 3e-3
    """The source's."""
    weight_decay: float = 0.0
    validation: int | float | None = 0.2
    """Part of the target's training images to choose by: a fraction or a number of images."""
    crop: int = 0
    seeds: int = 4
    warmup_epochs: float = 0.0
    classes: tyro.conf.Suppress[tuple[str, ...] | None] = None
    per_class: tyro.conf.Suppress[int | None] = None
    fraction: tyro.conf.Suppress[float | None] = None
    keep_every: tyro.conf.Suppress[int | None] = None


def check(config: Config) -> None:
    """Refuses settings that are invalid for any data.

    Raises:
      ValueError: for such a setting; the message lists the valid ones.
    """
    known = (*RECIPES, EARLY)
    for name in config.recipes:
        if name not in known:
            raise ValueError(unknown("recipe", name, known))
    if "scratch" not in config.recipes or len(set(config.recipes)) < max(2, len(config.recipes)):
        raise ValueError(
            "the recipes must be scratch, which the others are compared with, and others, each "
            f"named once, got {', '.join(config.recipes)}."
        )
    if (
        not config.learning_rates
        or min(config.learning_rates) <= 0
        or len(set(config.learning_rates)) < len(config.learning_rates)
    ):
        raise ValueError(
            f"the learning rates must be different numbers > 0, got {config.learning_rates}."
        )
