"""The settings of ``experiments.init_study``."""

import dataclasses
from typing import Literal

import tyro

from cnnlab.studies.settings import Training


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Compare initialisations of a network: what its layers see, and how fast it learns."""

    lecture: bool = True
    """If set, begin with the lecture's two settings: 10 x 500 tanh and ReLU."""
    inits: tuple[str, ...] = (
        "constant",
        "gaussian:std=0.01",
        "lecun",
        "glorot",
        "he",
        "orthogonal:gain=1.414",
        "random_walk",
        "lsuv",
        "data",
    )
    """Initialisations of the model: NAME or NAME:OPTION=VALUE,OPTION=VALUE."""
    examples: int = 256
    """How many training images the statistics are taken of; all, where there are fewer."""

    model: str = "mlp"
    model_options: tuple[str, ...] = ("widths=(100,100,100,100,100,100,100,100,100,100)",)
    epochs: int = 15
    """How long each network then trains; 0 for not at all."""
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "sgd"
    learning_rate: float = 0.01
    schedule: Literal["constant", "step", "cosine", "swa"] = "constant"
    warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    crop: int = 0
    seeds: int = 5
    """How many networks of each initialisation."""
    init: tyro.conf.Suppress[str] = "default"
    init_options: tyro.conf.Suppress[tuple[str, ...]] = ()
    keep_every: tyro.conf.Suppress[int | None] = None

    @property
    def training(self) -> "Config":
        """The settings that data and recipe are made from, also where nothing is trained."""
        return dataclasses.replace(self, epochs=max(self.epochs, 1))


def check(config: Config) -> None:
    """Refuses settings that are invalid for any data and any model.

    Raises:
      ValueError: for such a setting.
    """
    if not config.inits:
        raise ValueError(
            "inits must be at least one initialisation, got none: name some, as in he."
        )
    for name, least in (("examples", 1), ("epochs", 0)):
        if getattr(config, name) < least:
            raise ValueError(f"{name} must be at least {least}, got {getattr(config, name)}.")
