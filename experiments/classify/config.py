"""The settings of ``experiments.classify``."""

import dataclasses
import pathlib
from typing import Annotated

import tyro

from cnnlab.studies.settings import WeightsFile


@dataclasses.dataclass(frozen=True)
class Config(WeightsFile):
    """Which images to show to which network."""

    images: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional] = ()
    """Image files."""
    image_size: int | None = None
    """The side in pixels of the square that is cut from the middle of each; by default that of the
    file's network, or 224."""
    class_names: pathlib.Path | None = None
    """A text file with a name on each line; not needed where the file says or is known by them."""
    top: int = 5
    """How many classes to print."""
