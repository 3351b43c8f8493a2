"""The settings of ``experiments.probe``, and the names of what it compares."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import tyro

from cnnlab.studies.settings import Training, parse_pool, refuse_unused

PIXELS = "pixels"

METHODS = {"ridge": "ridge", "logistic": "logistic", "l2": "L2", "cosine": "cosine"}
"""Linear probes by ridge and logistic regression; nearest neighbours by two distances."""

NETWORKS = {"trained": "trained", "untrained": "random weights"}


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Linear probes and nearest neighbours at every stage, trained and with random weights."""

    earlier_names: ClassVar[Mapping[str, str]] = {"foreign_normalization": "weights_normalization"}

    from_run: Annotated[pathlib.Path | None, tyro.conf.arg(name="from")] = None
    """A finished run of experiments.train, instead of a training."""
    weights: pathlib.Path | None = None
    """A file of weights, instead of a training. One that cnnlab wrote, and a published one that is
    recognised, need none of the next two options and no --model."""
    mapping: str | None = None
    """With --weights: whose names the file has; found out if left out."""
    weights_normalization: str | None = None
    """With --weights: what they were trained on, torchvision, caffe, unit, or MEAN/STD such as
    0.1307/0.3081."""
    stages: tuple[str, ...] = ()
    """Such as stage2 head; all that give one array if left out."""
    pool: str = "4"
    """Of images at a stage: a number of cells a side, mean over all positions, or none."""
    probes: tuple[Literal["ridge", "logistic"], ...] = ("ridge", "logistic")
    """In closed form, or by scikit-learn's logistic regression; the claims are about the last."""
    neighbours: int = 5
    """How many neighbours vote."""
    examples: int | None = None
    """Learn from so many training images only, as many of each class; from all if left out."""
    queries: int = 10
    """Images in the figure of neighbours, each of another class."""
    shown: int = 6
    """Neighbours of each in the figure."""

    epochs: int = 15
    seeds: int = 5


def check(config: Config) -> None:
    """Refuses invalid settings.

    Raises:
      ValueError: for options that exclude each other, are unused or out of range.
    """
    if config.from_run is not None and config.weights is not None:
        raise ValueError("give --from RUN or --weights FILE, not both.")
    if config.weights is None:
        refuse_unused(config, ("mapping", "weights_normalization"), "only with --weights FILE")
    if not config.probes:
        raise ValueError("there must be a linear probe, ridge or logistic, got none.")
    if min(config.queries, config.shown) < 1:
        raise ValueError(
            f"queries and shown must be at least 1, got {config.queries} and {config.shown}."
        )
    parse_pool(config.pool)
