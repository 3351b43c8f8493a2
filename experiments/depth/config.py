"""The settings of ``experiments.depth``."""

import dataclasses
import itertools
from typing import Literal

import tyro

from cnnlab.studies.settings import Training

DEPTHS = (8, 20, 32, 44, 56, 110)
MODELS = {"plain": "plain", "residual": "resnet"}
"""Kind of network -> its name in the zoo, before the depth."""


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train plain and residual networks of several depths, and compare them."""

    depths: tuple[int, ...] = (20, 56)
    """Weighted layers, of 8, 20, 32, 44, 56, 110; the smallest is compared with the largest."""
    width: int = 8
    """Maps of the first stage; 16 in the paper."""

    # The paper's settings, but for the length; no part of the training images is held out.
    epochs: int = 20
    batch_size: int = 64
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "sgd"
    schedule: Literal["constant", "step", "cosine"] = "step"
    weight_decay: float = 1e-4
    seeds: int = 5
    model: tyro.conf.Suppress[str] = ""
    model_options: tyro.conf.Suppress[tuple[str, ...]] = ()
    validation: tyro.conf.Suppress[float | int | None] = None

    def architectures(self) -> dict[tuple[str, int], "Config"]:
        """(kind, depth) -> the config that trains this one; shallow ones first.

        Raises:
          ValueError: if the depths are not two or more of ``DEPTHS``.
        """
        depths = sorted(set(self.depths))
        if len(depths) < 2 or not set(depths) <= set(DEPTHS):
            known = ", ".join(map(str, DEPTHS))
            raise ValueError(f"depths must be at least two of {known}, got {self.depths}.")
        options = (f"width={self.width}",)
        return {
            (kind, depth): dataclasses.replace(
                self, model=f"{prefix}{depth}", model_options=options, resume=None
            )
            for depth, (kind, prefix) in itertools.product(depths, MODELS.items())
        }
