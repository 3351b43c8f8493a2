"""The settings of ``experiments.ensemble``."""

import dataclasses
import pathlib
from typing import Literal

import tyro

from cnnlab.studies.settings import FREE_ON_RESUME, Training, refuse_unused

Difference = Literal[
    "seed", "init", "order", "bootstrap", "subset", "hyperparameters", "architecture"
]


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train M networks that differ in something, and combine what they predict."""

    members: int = 5
    """M; of hyperparameters and architectures as many as are given."""
    differ: Difference = "seed"
    """In what; seed: start and order; bootstrap and subset: the images that they see, too."""
    subset: float = 0.7
    """For subset: the part of the training images that a member sees."""
    learning_rate_factors: tuple[float, ...] = ()
    """For hyperparameters: what the learning rate of each member is multiplied by."""
    weight_decays: tuple[float, ...] = ()
    """For hyperparameters: the weight decay of each member."""
    models: tuple[str, ...] = ()
    """For architecture: the model of each member."""
    of: tuple[pathlib.Path, ...] = ()
    """Train nothing: the members are the networks of these finished runs."""
    missing: Literal["error", "skip"] = "error"
    """What to do where the checkpoint of one of these is gone or damaged."""
    single: bool = True
    """Train the single network, too, for as many epochs as all members together."""

    keep_every: tyro.conf.Suppress[int | None] = None
    epochs: int = 10
    """Of a member."""
    seeds: int = 3
    """Repetitions."""


def check(config: Config) -> None:
    """Refuses invalid settings before anything is trained.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
    """
    if config.of:
        used = {*FREE_ON_RESUME, "of", "keep_every", "member_axis"}
        fields = (field.name for field in dataclasses.fields(config))
        unused = [name for name in fields if name not in used]
        refuse_unused(config, unused, "nothing is trained with --of")
    if config.differ != "hyperparameters":
        why = f"only with --differ hyperparameters, not {config.differ}"
        refuse_unused(config, ("learning_rate_factors", "weight_decays"), why)
    if config.differ != "architecture":
        refuse_unused(config, ("models",), f"only with --differ architecture, not {config.differ}")
    if config.members < 1:
        raise ValueError(f"an ensemble needs at least one member, got {config.members}.")
    lists = [each for each in (config.learning_rate_factors, config.weight_decays) if each]
    if config.differ == "hyperparameters" and len({len(each) for each in lists}) != 1:
        raise ValueError(
            "members that differ by hyperparameters need --learning-rate-factors, --weight-decays "
            f"or both, one number a member, got {config.learning_rate_factors} and "
            f"{config.weight_decays}."
        )
    if config.differ == "architecture" and not config.models:
        raise ValueError(
            "members that differ by architecture need --models, such as resnet8 mlp linear."
        )
    if not 0 < config.subset < 1:
        raise ValueError(f"the part that a member sees must be in (0, 1), got {config.subset}.")
