"""The settings of ``experiments.deepening``."""

import dataclasses
from typing import Any, Literal

import tyro

from cnnlab.spelling import unknown
from cnnlab.studies.settings import Training, drop_default_model_options

METHODS = {
    "grown": "grown, new layers fresh",
    "unchanged": "grown, new layers doing nothing",
    "gaussian": "small gaussian",
    "glorot": "Glorot",
    "he": "He",
}
"""The methods in words; the first two are grown."""

GROWN = ("grown", "unchanged")


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Grow a deep network out of a shallow one, and compare it with others from scratch."""

    methods: tuple[str, ...] = tuple(METHODS)
    """Of grown, unchanged, gaussian, glorot and he."""
    model: str = "mlp"
    """The shallow network, such as plain8, vgg11, mlp."""
    deep: str = "mlp"
    """The deep one, of the same family."""
    model_options: tuple[str, ...] = ("widths=(64,64,64)",)
    """Further settings of both; of other models than mlp none by default."""
    deep_options: tuple[str, ...] = ("widths=(64,64,64,64,64,64)",)
    """Further settings of the deep one, in place of the same ones of both."""
    std: float = 0.05
    """Standard deviation of the small gaussian; the shallow network starts from it, too."""
    shallow_epochs: int = 10
    """How many of the epochs a grown network is shallow."""
    margin: float = 0.01
    """The loss of accuracy up to which growing counts as unnecessary."""

    watched: int = 1000
    """How many images of the test part the curves are of; the errors at the end are of all."""

    # Of all phases together.
    epochs: int = 30
    batch_size: int = 50
    learning_rate: float = 0.02
    schedule: Literal["constant", "step", "cosine", "swa"] = "cosine"
    weight_decay: float = 1e-4
    clip: float | None = 1.0
    crop: int = 0
    seeds: int = 5
    init: tyro.conf.Suppress[str] = "default"
    init_options: tyro.conf.Suppress[tuple[str, ...]] = ()
    validation: tyro.conf.Suppress[float | int | None] = None
    keep_every: tyro.conf.Suppress[int | None] = None

    def phase(self, method: str) -> "Config":
        """The config of one training: "shallow", or the deep network's of a method."""
        small: dict[str, Any] = {"init": "gaussian", "init_options": (f"std={self.std}",)}
        if method == "shallow":
            return dataclasses.replace(self, **small, epochs=self.shallow_epochs)
        options = (*self.model_options, *self.deep_options)
        named: dict[str, Any] = {"model": self.deep, "model_options": options}
        if method in GROWN:
            remaining = self.epochs - self.shallow_epochs
            return dataclasses.replace(self, **small, **named, epochs=remaining)
        start = small if method == "gaussian" else {"init": method, "init_options": ()}
        return dataclasses.replace(self, **start, **named)

    @property
    def networks(self) -> str:
        """Both networks in words."""
        deep = " ".join((self.deep, *self.deep_options))
        return f"{' '.join((self.model, *self.model_options))} into {deep}"


def resolve_defaults(config: Config) -> Config:
    """The config without the perceptrons' default options where its networks are others."""
    if config.deep != "mlp" and config.deep_options == Config.deep_options:
        config = dataclasses.replace(config, deep_options=())
    return drop_default_model_options(config)


def check(config: Config) -> None:
    """Refuses settings that are invalid for any data.

    Raises:
      ValueError: for such a setting; the message lists the valid ones.
    """
    for method in config.methods:
        if method not in METHODS:
            raise ValueError(unknown("method of starting a deep network", method, METHODS))
    if not config.methods or len(set(config.methods)) < len(config.methods):
        raise ValueError(f"methods must be some, each given once, got {config.methods}.")
    if not 1 <= config.shallow_epochs < config.epochs:
        raise ValueError(
            f"shallow_epochs must be at least 1 and less than all {config.epochs} epochs, got "
            f"{config.shallow_epochs}."
        )
    if not 0 <= config.margin < 1:
        raise ValueError(f"the margin must be in [0, 1), 0.01 is a point, got {config.margin}.")
    if config.watched < 1:
        raise ValueError(f"watched must be at least 1 image, got {config.watched}.")
