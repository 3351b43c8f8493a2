"""The settings of experiments on scenes that are composed of digits.

Importing this module imports no jax; ``cnnlab.studies.scenes`` composes the scenes.
"""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal

import tyro

from cnnlab.studies.settings import Training


@dataclasses.dataclass(frozen=True)
class SceneTraining(Training):
    """How scenes are composed, and how networks are trained on them."""

    earlier_names: ClassVar[Mapping[str, str]] = {"size": "scene_size"}

    scenes: int = 120
    """Scenes to learn from."""
    test_scenes: int = 150
    """Scenes to measure on."""
    scene_size: int = 24
    """The side of a scene in pixels."""
    digits: tuple[int, int] = (1, 2)
    """The fewest and the most digits of a scene."""
    scale: tuple[float, float] = (0.4, 0.6)
    """The longer side of a digit, as a part of the scene's: from and to."""
    contrast: tuple[float, float] = (80.0, 120.0)
    """The difference of the ink from its background, of 0 to 255: from and to, at most 127."""
    backgrounds: str = "textures"
    """textures, photographs (of scikit-learn), or a data set's images: cifar10, folder:PATH …"""

    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adam"
    weight_decay: float = 0.0
    batch_size: int = 8
    seeds: int = 3
    validation: tyro.conf.Suppress[float | int | None] = None
    # Masks and boxes would have to be moved along with the images.
    crop: tyro.conf.Suppress[int] = 0
    flip: tyro.conf.Suppress[bool] = False
    cutout: tyro.conf.Suppress[int] = 0
    label_smoothing: tyro.conf.Suppress[float] = 0.0
    normalization: tyro.conf.Suppress[str] = "channel"  # type: ignore[assignment]
