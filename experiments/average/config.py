"""The settings of ``experiments.average``: which weights to average, and how."""

import dataclasses
import pathlib
from typing import Annotated, Literal

import tyro

from cnnlab.studies.settings import option_name
from cnnlab.studies.stored_fields import CheckedFields


@dataclasses.dataclass(frozen=True)
class Config(CheckedFields):
    """Which weights to average."""

    run: Annotated[tuple[pathlib.Path, ...], tyro.conf.Positional]
    """A run directory, for its checkpoints; or several, for a soup."""
    data_dir: pathlib.Path | None = None
    """Where the data are now; by default where the run found them."""
    last: int | None = None
    """Of one run: its last N checkpoints; all of them without any of these three."""
    steps: tuple[int, ...] = ()
    """Of one run: the checkpoints of these steps."""
    from_epoch: int | None = None
    """Of one run: the checkpoints of the ends of epochs, from that of this epoch on."""
    best: bool = False
    """Of several runs: the best checkpoint of each on the validation part, not the latest."""
    how: Literal["average", "uniform", "greedy"] = "average"
    """All of them alike (uniform is the same), or those with which validation gets no worse."""
    recalibrate: bool = True
    """Compute the statistics of batch normalisation again, on the training part."""
    missing: Literal["error", "skip"] = "error"
    """What to do about a checkpoint, or a run, that is missing or damaged."""
    name: str | None = None
    """Of the files average-NAME.*; made of the settings if left out."""
    batch_size: int = 512
    """Images at a time."""


def check(config: Config) -> None:
    """Refuses settings that contradict each other.

    Raises:
      ValueError: for such settings.
    """
    chosen = [
        option_name(field)
        for field in ("last", "steps", "from_epoch")
        if getattr(config, field) not in (None, ())
    ]
    if not config.run:
        raise ValueError("give the directory of a run, or of several for a soup.")
    if len({each.resolve() for each in config.run}) < len(config.run):
        raise ValueError(f"runs must be different ones, got {', '.join(map(str, config.run))}.")
    if len(config.run) > 1 and chosen:
        raise ValueError(f"{chosen[0]}: only with one run; of several, the latest or --best.")
    if len(config.run) == 1 and config.best:
        raise ValueError("--best: only with several runs; of one, choose --last, --steps …")
    if len(chosen) > 1:
        raise ValueError(f"{' and '.join(chosen)} exclude each other: give one of them.")
    if config.last is not None and config.last < 2:
        raise ValueError(f"--last must be at least 2 checkpoints, got {config.last}.")
    if config.name is not None and pathlib.Path(config.name).name != config.name:
        raise ValueError(f"--name must be part of a file's name, got {config.name!r}.")


def file_name(config: Config, runs: int) -> str:
    """NAME of the files average-NAME.*, of the settings where none is given.

    Args:
      config: the settings.
      runs: how many runs are averaged.
    """
    if config.name:
        return config.name
    name = "all" if runs == 1 else f"soup-of-{runs}{'-best' * config.best}"
    if config.last is not None:
        name = f"last-{config.last}"
    elif config.steps:
        name = f"steps-{'-'.join(map(str, sorted(set(config.steps))))}"
    elif config.from_epoch is not None:
        name = f"from-epoch-{config.from_epoch}"
    prefix = "greedy-" if config.how == "greedy" else ""
    return f"{prefix}{name}{'' if config.recalibrate else '-as-averaged'}"
