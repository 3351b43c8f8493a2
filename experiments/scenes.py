"""Scenes that ``experiments.segment`` and ``experiments.detect`` compose, and their settings."""

import dataclasses
from typing import TYPE_CHECKING, Any, Literal

import tyro

from experiments.config import Training

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Dataset
    from cnnlab.data.scenes import Scenes

_MOST_BACKGROUNDS = 2000  # images of a data set


@dataclasses.dataclass(frozen=True)
class SceneTraining(Training):
    """How scenes are composed, and how what looks at them is trained."""

    scenes: int = 120
    """Scenes to learn from."""
    test_scenes: int = 150
    """Scenes to measure on."""
    size: int = 24
    """The side of a scene in pixels."""
    digits: tuple[int, int] = (1, 2)
    """The fewest and the most digits of a scene."""
    scale: tuple[float, float] = (0.4, 0.6)
    """The longer side of a digit, as a part of the scene's: from and to."""
    contrast: tuple[float, float] = (80.0, 120.0)
    """How much ink differs from what is behind it, of 0 to 255: from and to, at most 127."""
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

    def scene_settings(self) -> dict[str, Any]:
        """Of ``compose``, but for the number of scenes, the backgrounds and the seed."""
        names = ("size", "digits", "scale", "contrast")
        return {name: getattr(self, name) for name in names}

    def composed(
        self,
        source: "Dataset",
        count: int,
        number: int,
        behind: "np.ndarray | None",
        **other: Any,
    ) -> "Scenes":
        """Scenes of the images of a data set.

        Args:
          source: the digits.
          count: scenes.
          number: of the kind of scenes, 0 to 3: each has random numbers of its own.
          behind: of ``backgrounds_of``.
          **other: settings that take the place of the config's.
        """
        from cnnlab.data.scenes import compose

        settings = {**self.scene_settings(), **other}
        seed = 4 * self.split_seed + number
        return compose(source, count=count, backgrounds=behind, seed=seed, **settings)


def backgrounds_of(config: SceneTraining, part: str) -> "np.ndarray | None":
    """What is behind the scenes of a part: uint8 ``[B, H, W, C]``, or None for textures.

    Raises:
      ValueError: for an unknown name, with those that there are.
    """
    import numpy as np

    from cnnlab import data
    from cnnlab.data.backgrounds import photographs
    from cnnlab.spelling import unknown

    if config.backgrounds == "textures":
        return None
    if config.backgrounds == "photographs":
        return photographs(part)
    name, folder = config.backgrounds, config.backgrounds.partition(":")[0] == "folder"
    if name.partition(":")[0] not in data.names():
        raise ValueError(unknown("backgrounds", name, ("textures", "photographs", *data.names())))
    settings: dict[str, Any] = {"image_size": 2 * config.size} if folder else {}
    splits = data.load(name, config.data_dir, validation=None, **settings)
    images = getattr(splits, part).images
    chosen = np.linspace(0, len(images) - 1, min(len(images), _MOST_BACKGROUNDS)).astype(int)
    return np.asarray(images[chosen])
