"""The settings of ``experiments.transferability``, and the names of what it compares."""

import dataclasses
from typing import Literal

import tyro

from cnnlab.studies.settings import Training

TREATMENTS = {
    "BnB": "BnB: own stages, frozen",
    "BnB+": "BnB+: own stages, fine-tuned",
    "AnB": "AnB: the other half's stages, frozen",
    "AnB+": "AnB+: the other half's stages, fine-tuned",
}


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train on one half of the classes from stages that learned the other, or the same one."""

    half: tuple[str, ...] | None = None
    """Classes of one half of a dissimilar cut, by name or number. Left out: digits, mnist,
    fashion_mnist and cifar10 have one of their own. Empty: random halves only."""
    depths: tuple[int, ...] = ()
    """How many stages are kept, of those that have parameters; all but the head by default."""
    seeds: int = 4
    """Repetitions: so many random cuts, and so many seeds of the dissimilar one."""

    model: str = "lenet5"
    model_options: tuple[str, ...] = ("padding=SAME",)
    """Further settings of the model; of another model than lenet5 none by default."""
    per_class: int | None = 40
    epochs: int = 10
    batch_size: int = 16
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adam"
    learning_rate: float = 3e-3
    warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    crop: int = 0
    validation: tyro.conf.Suppress[float | int | None] = None
    keep_every: tyro.conf.Suppress[int | None] = None
