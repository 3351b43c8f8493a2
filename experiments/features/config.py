"""The settings of ``experiments.features``."""

import dataclasses
import pathlib
from typing import Annotated, Literal

import tyro

from cnnlab.studies.settings import OF_WEIGHTS, WeightsFile, parse_pool, refuse_unused


@dataclasses.dataclass(frozen=True)
class Config(WeightsFile):
    """Which stages of which network to show which images."""

    run: Annotated[pathlib.Path | None, tyro.conf.Positional] = None
    """The run directory; or none, and --weights."""
    stages: tuple[str, ...] = ()
    """Such as stage2 head; all that give one array if left out."""
    pool: str = "mean"
    """Of images: mean over all positions, a number of cells a side, such as 4, or none."""
    dataset: str | None = None
    """Another data set of the same image shape; by default that of the run, or of the file."""
    data_dir: pathlib.Path | None = None
    """Where its files are; by default where the run found its own."""
    image_size: int | None = None
    """With --weights: the side in pixels that an image folder's images are brought to."""
    part: Literal["test", "validation", "train"] = "test"
    """Which part of it."""
    best: bool = False
    """Of a run: the best checkpoint on the validation part, not the latest."""
    to: pathlib.Path | None = None
    """The file, .npz; RUN/features-PART-DATASET.npz if left out."""
    batch_size: int = 256
    """Images at a time."""


def check(config: Config) -> None:
    """Refuses invalid settings.

    Raises:
      ValueError: for options that are missing, unused or out of range.
    """
    parse_pool(config.pool)
    if config.run is None and config.weights is None:
        raise ValueError("give a run directory or --weights FILE.")
    if config.run is not None and config.weights is not None:
        raise ValueError("give a run directory or --weights FILE, not both.")
    if config.to is not None and config.to.suffix != ".npz":
        raise ValueError(f"the file must end with .npz, got {config.to}.")
    if config.run is not None:
        refuse_unused(config, (*OF_WEIGHTS, "image_size"), "only with --weights FILE")
        return
    refuse_unused(config, ("best",), "only with a run directory")
    if config.to is None:
        raise ValueError("--weights needs --to FILE.npz as well: where the features go.")
