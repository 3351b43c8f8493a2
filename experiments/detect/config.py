"""The settings of ``experiments.detect``."""

import dataclasses
from typing import Literal

from cnnlab.studies.scene_settings import SceneTraining


@dataclasses.dataclass(frozen=True)
class Config(SceneTraining):
    """Turn a classifier of digits into a detector of digits in scenes, in several ways."""

    scenes: int = 192
    cuts: int = 1600
    """Cut-outs of one digit, with a label and no box, that the classifier learns from."""
    scene_size: int = 32
    digits: tuple[int, int] = (1, 3)
    scale: tuple[float, float] = (0.3, 0.55)

    heights: tuple[float, ...] = (0.35, 0.5)
    """Of the windows, as fractions of the scene's side."""
    aspects: tuple[float, ...] = (0.85, 0.5)
    """Widths of the windows over their heights."""
    step: float = 0.34
    """The largest distance of neighbouring windows over their side."""
    up_to: str = "stage2"
    """The last stage of the classifier that the detector has."""
    bins: int = 3
    """Down and across, that each window is pooled to."""
    pooling: Literal["max", "align"] = "max"
    """The largest feature of each bin, or the mean of interpolated ones."""
    hidden: tuple[int, ...] = (64,)
    """Units of the head's dense layers before the last."""
    box_weight: float = 1.0
    """Of the correction of boxes in the loss."""
    partly: tuple[str, ...] = ()
    """Stages; for each, train one more time with the front frozen up to it."""
    overlaps: tuple[float, ...] = (0.5, 0.75)
    """The IoU from which on a box is right; the published figures are for 0.5."""
    classifier_epochs: int = 10
    """Passes of the classifier over its cut-outs."""

    model_options: tuple[str, ...] = ("width=8",)
    """Further settings of the classifier; of another model than resnet8 none by default."""
    epochs: int = 10
    batch_size: int = 8
    """Scenes in an update; four times as many cut-outs."""
    learning_rate: float = 5e-3

    def classifier(self) -> "Config":
        """The config that trains the classifier, whose images are small: four times as many."""
        batch = min(4 * self.batch_size, self.cuts)
        return dataclasses.replace(self, epochs=self.classifier_epochs, batch_size=batch)

    def cut_outs(self) -> "Config":
        """The config that composes the cut-outs: a digit of a scene's size, a little around it."""
        side = round(1.2 * self.scale[1] * self.scene_size)
        low, high = (each * self.scene_size / side for each in self.scale)
        return dataclasses.replace(
            self, scene_size=side, digits=(1, 1), scale=(low, min(high, 1.0))
        )


def check(config: Config) -> None:
    """Refuses settings that are invalid for any data.

    Raises:
      ValueError: for such a setting; the message lists the valid ones.
    """
    if not 0 < config.box_weight < float("inf"):
        raise ValueError(
            "box_weight must be positive and finite, that the boxes matter is one of the claims; "
            f"got {config.box_weight}."
        )
    wrong = [each for each in config.overlaps if not 0 < each <= 1]
    if wrong or not config.overlaps or len(set(config.overlaps)) != len(config.overlaps):
        raise ValueError(
            f"overlaps must be different numbers in (0, 1], at least one, got {config.overlaps}."
        )
    if config.bins < 1:
        raise ValueError(f"bins must be at least 1, got {config.bins}.")
    if not all(0 < each <= 1 for each in config.heights) or not all(a > 0 for a in config.aspects):
        raise ValueError(
            "heights must be fractions of the scene in (0, 1] and aspects positive, got "
            f"{config.heights} and {config.aspects}."
        )
