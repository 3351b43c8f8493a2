"""The settings of ``experiments.classify``."""

import dataclasses
import pathlib
from typing import Annotated

import tyro

from cnnlab.run_directory import CONFIG
from cnnlab.studies.settings import OF_WEIGHTS, WeightsFile, refuse_unused


@dataclasses.dataclass(frozen=True)
class Config(WeightsFile):
    """Which images to show to which network."""

    images: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional] = ()
    """A run directory, unless there is --weights; then image files."""
    best: bool = False
    """Of a run: the best checkpoint on the validation part, not the latest."""
    image_size: int | None = None
    """The side in pixels of the square that is cut from the middle of each; by default that of the
    file's network, or 224."""
    class_names: pathlib.Path | None = None
    """A text file with a name on each line; not needed where the file says or is known by them."""
    top: int = 5
    """How many classes to print, at most."""


def check(config: Config) -> tuple[pathlib.Path | None, tuple[pathlib.Path, ...]]:
    """The run, if any, and the image files.

    Raises:
      ValueError: for options that are missing or unused.
    """
    run, images = None, config.images
    if config.weights is None:
        if not images or not (images[0] / CONFIG).is_file():
            got = f", got {images[0]}" if images else ""
            raise ValueError(f"give a run directory first, or --weights FILE{got}.")
        run, images = images[0], images[1:]
        unused = (*OF_WEIGHTS, "image_size", "class_names")
        refuse_unused(config, unused, "a run says it itself; only with --weights")
    else:
        refuse_unused(config, ("best",), "only with a run directory")
    if not images:
        raise ValueError("give one image file or more.")
    if config.top < 1:
        raise ValueError(f"--top must be at least 1, got {config.top}.")
    return run, images
