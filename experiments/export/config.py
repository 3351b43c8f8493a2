"""The settings of ``experiments.export``."""

import dataclasses
import pathlib
from typing import Annotated

import tyro

from cnnlab.studies.stored_fields import CheckedFields

KINDS = (".safetensors", ".stablehlo")


@dataclasses.dataclass(frozen=True)
class Config(CheckedFields):
    """Which network to write where."""

    run: Annotated[pathlib.Path, tyro.conf.Positional]
    """The run directory."""
    to: Annotated[pathlib.Path, tyro.conf.Positional]
    """The file: FILE.safetensors for the weights, FILE.stablehlo for the whole program."""
    seed: int | None = None
    """Which network of several seeds; the first if left out."""
    best: bool = False
    """The best checkpoint on the validation part, not the latest."""
    platforms: tuple[str, ...] = ("cpu", "cuda", "tpu")
    """Where the program shall run."""
