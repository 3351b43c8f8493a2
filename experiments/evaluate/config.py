"""The settings of ``experiments.evaluate``."""

import dataclasses
import pathlib
from typing import Annotated, Literal

import tyro

from cnnlab.studies.settings import OF_WEIGHTS, WeightsFile, refuse_unused


@dataclasses.dataclass(frozen=True)
class Config(WeightsFile):
    """Which networks to evaluate on which images."""

    run: Annotated[pathlib.Path | None, tyro.conf.Positional] = None
    """The run directory; or none, and --weights; or both: its network with these weights."""
    dataset: str | None = None
    """Another data set of the same classes and image shape; by default that of the run, or of the
    file."""
    data_dir: pathlib.Path | None = None
    """Where its files are; without --dataset, where the run's own data are now."""
    match_classes: Literal["name", "number"] = "name"
    """How the classes of another data set are those of the run: by their names, in any order, or by
    their numbers, whatever they are called."""
    image_size: int | None = None
    """With --weights: the side in pixels that an image folder's images are brought to."""
    part: Literal["test", "validation", "train"] = "test"
    """Which part of it."""
    best: bool = False
    """The best checkpoint on the validation part, not the latest."""
    recalibrate: bool = False
    """Of a run: take the statistics of batch normalisation anew from its training part."""
    views: tuple[str, ...] = ()
    """Average over views: mirror, shifts:PIXELS, ten_crop:SIZE, scales:SIZE,SIZE:CROP; several are
    applied one after the other. Only those that the training's augmentation makes as well: a
    mirrored digit is another digit. The scores without are shown beside."""
    dropout_samples: int = 0
    """Average over this many masks of dropout."""
    batch_size: int = 512
    """Images at a time."""
    bins: int = 15
    """Of the reliability diagram."""
    runs: pathlib.Path = pathlib.Path("runs")
    """With --weights: where a numbered directory for the result is made."""


def check(config: Config) -> None:
    """Refuses options that are missing, unused or out of range.

    Raises:
      ValueError: for such options.
    """
    if config.run is None and config.weights is None:
        raise ValueError("give a run directory or --weights FILE.")
    weights_options = (*OF_WEIGHTS, "image_size")
    if config.run is None:
        refuse_unused(config, ("best", "recalibrate", "match_classes"), "only with a run directory")
    elif config.weights is None:
        refuse_unused(config, weights_options, "only with --weights and no run directory")
    else:
        why = "only without --weights or without a run directory"
        refuse_unused(config, (*weights_options, "best"), why)
    if config.views and config.dropout_samples:
        raise ValueError("give --views or --dropout-samples, not both.")
    if config.dropout_samples < 0:
        raise ValueError(f"dropout_samples must be at least 1, got {config.dropout_samples}.")
