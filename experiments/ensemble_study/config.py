"""The settings of ``experiments.ensemble_study``, and its three sizes."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import tyro

from cnnlab.spelling import unknown
from cnnlab.studies.settings import Training


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Compare one network, snapshots, averages of weights and true ensembles."""

    sizes: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "quick": {},
        "hour": {
            "fraction": 0.05,
            "seeds": 5,
            "epochs": 30,
            "members": 5,
            "model_options": ("width=8",),
            "flip": True,
            "crop": 2,
        },
        "full": {
            "model": "resnet110",
            "model_options": (),
            "epochs": 300,
            "members": 5,
            "batch_size": 64,
            "weight_decay": 1e-4,
            "flip": True,
            "crop": 4,
        },
    }
    """The settings of each size, where nothing else is asked for."""

    size: Literal["quick", "hour", "full"] = "quick"
    """quick: digits; hour: an hour on two cores; full: the papers'. It sets the defaults."""
    members: int = 3
    """M: of the largest ensemble, and the number of cycles."""
    high_rate: float = 0.2
    """Of the second run with snapshots; the first has the rate of the others."""
    swa_rate: float = 0.05
    """The rate at which SWA averages."""

    epochs: int = 12
    """B: the budget."""
    model_options: tuple[str, ...] = ("width=8",)
    ema_decay: float | None = 0.998
    validation: float | int | None = None
    seeds: int = 3
    """Repetitions."""
    # Each method has a schedule of its own.
    schedule: tyro.conf.Suppress[Literal["constant", "step", "cosine", "swa"]] = "cosine"
    warmup_epochs: tyro.conf.Suppress[float] = 0.0
    keep_every: tyro.conf.Suppress[int | None] = None

    def __post_init__(self) -> None:
        """Refuses invalid settings; the message lists the valid ones."""
        super().__post_init__()
        if self.members < 2:
            raise ValueError(f"members must be at least 2, got {self.members}.")
        if self.epochs < self.members:
            raise ValueError(
                f"{self.members} members need an epoch each, got a budget of {self.epochs} epochs."
            )
        if self.ema_decay is None:
            raise ValueError("ema_decay must be given: the moving average is one of the methods.")

    @classmethod
    def for_size(cls, size: str, **settings: Any) -> "Config":
        """The config of a size, with settings in place of those that it sets.

        Raises:
          ValueError: for an unknown size.
        """
        if size not in cls.sizes:
            raise ValueError(unknown("size", size, tuple(cls.sizes)))
        return cls(**{**cls.sizes[size], "size": size, **settings})
