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
    image_size: int = 224
    """The side in pixels of the square that is cut from the middle of each."""
    class_names: pathlib.Path | None = None
    """A text file with a name on each line; the 1000 classes of ImageNet if left out."""
    top: int = 5
    """How many classes to print."""
