"""The settings of ``experiments.segment``, and the names of its trainings."""

import dataclasses
from typing import Literal

import tyro

from cnnlab.studies.scene_settings import SceneTraining

LossName = Literal["cross-entropy", "weighted", "dice", "both"]
Start = Literal["scratch", "pretrained", "frozen first"]

STARTS: dict[str, str] = {
    "scratch": "from scratch",
    "pretrained": "encoder from a classifier",
    "frozen first": "encoder from a classifier, frozen first",
}
"""The starts in words."""


@dataclasses.dataclass(frozen=True)
class Config(SceneTraining):
    """Train U-Nets on composed scenes with several losses, and from several starts."""

    few: tuple[int, ...] = (20,)
    """Numbers of scenes at which the starts are compared; if none, only the losses are."""
    single_scenes: int = 240
    """Scenes of one digit, with a label and no mask, that the classifier learns from."""

    losses: tuple[LossName, ...] = ("cross-entropy", "dice", "both")
    """What to compare; weighted is cross-entropy with classes weighted by their rarity."""
    dice: float = 0.5
    """The weight of Dice in the loss both."""
    present: bool = True
    """True where Dice is the mean of the classes that a scene has, not of all."""
    start_loss: LossName = "both"
    """The loss that the starts are compared with."""
    starts: tuple[Start, ...] = ("scratch", "pretrained", "frozen first")
    """How the U-Nets of the second comparison begin."""
    frozen: float = 0.3
    """The part of the epochs in which the encoder is frozen, where it is frozen first."""
    classifier_epochs: int = 10
    """Passes of the classifier over its scenes."""

    model_options: tuple[str, ...] = ("width=8", "depth=2", "norm=batch")
    """Of the U-Net: width, depth, padding=VALID …"""
    epochs: int = 10
    learning_rate: float = 1e-2
    classes: tuple[str, ...] | None = None
    """Keep these classes only; of digits 0 to 3 by default, which takes a minute."""
    model: tyro.conf.Suppress[str] = "unet"

    @property
    def frozen_epochs(self) -> int:
        """The epochs in which the encoder is frozen, where it is frozen first."""
        return round(self.frozen * self.epochs)


def resolve_defaults(config: Config) -> Config:
    """The config with the classes that it keeps of digits by default."""
    if config.dataset == "digits" and config.classes is None:
        return dataclasses.replace(config, classes=("0", "1", "2", "3"))
    return config


def check(config: Config) -> None:
    """Refuses settings that are invalid for any data.

    Raises:
      ValueError: for such a setting; the message lists the valid ones.
    """
    for name, chosen in (("losses", config.losses), ("starts", config.starts)):
        if not chosen or len(set(chosen)) != len(chosen):
            raise ValueError(f"{name} must be at least one, each once, got {chosen}.")
    if not 0 < config.frozen < 1 or not 1 <= config.frozen_epochs < config.epochs:
        raise ValueError(
            "frozen must be a part of the epochs in (0, 1) that leaves some on both sides, got "
            f"{config.frozen} of {config.epochs} epochs."
        )
    wrong = [n for n in config.few if not config.batch_size <= n <= config.scenes]
    if wrong or len(set(config.few)) != len(config.few):
        raise ValueError(
            f"few must be different numbers of scenes, from a batch, {config.batch_size}, to all "
            f"of them, {config.scenes}, got {config.few}."
        )


def training_name(loss: str, start: str, scenes: int) -> str:
    """The name of a training and of its folder."""
    return f"{loss}-{start}-{scenes}".replace(" ", "-")
