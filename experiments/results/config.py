"""The settings of ``experiments.results``."""

import dataclasses
import pathlib

from cnnlab.studies.stored_fields import CheckedFields


@dataclasses.dataclass(frozen=True)
class Config(CheckedFields):
    """Which run to keep, if any, and where the repository is."""

    add: pathlib.Path | None = None
    """A run directory whose result is kept."""
    name: str | None = None
    """Its name in results/; DATASET-MODEL of a training, else EXPERIMENT[-TASK]-DATASET."""
    root: pathlib.Path = pathlib.Path()
    """The repository: its README.md, docs/, results/ and benchmarks/ are read and written."""


def check(config: Config) -> None:
    """Refuses invalid options.

    Raises:
      ValueError: a name without a run, or a root that holds no README.md.
    """
    if config.name is not None and config.add is None:
        raise ValueError("--name names the run that is kept: give --add RUN as well.")
    if not (config.root / "README.md").is_file():
        raise ValueError(f"{config.root.resolve()} has no README.md: give --root REPOSITORY.")
