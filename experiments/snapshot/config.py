"""The settings of ``experiments.snapshot``."""

import dataclasses
from typing import Literal

import tyro

from cnnlab.studies.settings import Training, refuse_unused

Kind = Literal["cosine", "none", "reinitialised", "triangular"]


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train once, keep M networks, and compare them with one network of the same budget."""

    cycles: int = 5
    """M, how many snapshots are taken."""
    growth: float = 1.0
    """How much longer each cycle is than the one before; 2 is usual in SGDR."""
    kind: Kind = "cosine"
    """cosine cycles; none: the usual schedule; reinitialised: M fresh starts; triangular: FGE."""
    last: int | None = None
    """Average the last so many snapshots; all by default."""
    rule: Literal["probabilities", "logits", "geometric", "vote"] = "probabilities"
    """What is averaged."""
    pretraining: float = 0.75
    """For triangular: the part of the epochs that goes before the cycles, by the usual schedule."""
    triangle: tuple[float, float] = (0.5, 0.005)
    """For triangular: the highest and the lowest rate of the cycles, as parts of the rate."""
    single: bool = True
    """Train the single network, too."""
    missing: Literal["error", "skip"] = "error"
    """What to do where a snapshot's checkpoint is gone or damaged."""

    keep_every: tyro.conf.Suppress[int | None] = None
    epochs: int = 40
    warmup_epochs: float = 0.0
    learning_rate: float = 0.1
    seeds: int = 3


def check(config: Config) -> None:
    """Refuses invalid settings before anything is written; ``cycles.snapshot_ends`` does the rest.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
    """
    if config.last is not None and not 1 <= config.last <= config.cycles:
        raise ValueError(f"last must be 1 to {config.cycles} snapshots, got {config.last}.")
    if config.kind != "triangular":
        refuse_unused(config, ("pretraining", "triangle"), "only with --kind triangular")
    if config.kind == "reinitialised":
        refuse_unused(config, ("missing",), "of no use with --kind reinitialised")
    if config.kind == "triangular":
        if not 0 <= config.pretraining < 1:
            raise ValueError(f"pretraining must be in [0, 1), got {config.pretraining}.")
        if config.growth != 1:
            raise ValueError(f"triangular cycles do not grow, got a growth of {config.growth}.")
