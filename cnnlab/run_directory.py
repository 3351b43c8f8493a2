"""The files of a run directory, and what can be read of them without starting JAX."""

import pathlib
from collections.abc import Iterator
from typing import Any

from cnnlab.files import read_json

CONFIG, ENVIRONMENT, RESULT = "config.json", "environment.json", "result.json"
METRICS = "metrics.jsonl"
DATA = "data.npz"
"""Which images are in which part, the class names and the statistics: a ``data.record``."""
CHECKPOINTS, FIGURES = "checkpoints", "figures"
KEEP_STEPS = "keep_steps.json"
"""The steps whose checkpoints a run never deletes, where there are some."""


class ResumeError(ValueError):
    """A run cannot be resumed, or read, as it was asked for."""


def read_config(directory: pathlib.Path) -> dict[str, Any]:
    """The config of the run in ``directory``.

    Raises:
      ResumeError: if there is no run.
    """
    path = pathlib.Path(directory) / CONFIG
    if not path.is_file():
        raise ResumeError(
            f"there is no run in {directory}: {CONFIG} is missing. Give the run directory itself, "
            "the one that was printed when the run began."
        )
    config: dict[str, Any] = read_json(path)
    return config


def find_runs(parent: pathlib.Path) -> Iterator[pathlib.Path]:
    """The run directories in ``parent``, by name; those inside of a run are left out."""
    for path in sorted(pathlib.Path(parent).iterdir()):
        if (path / CONFIG).is_file():
            yield path
