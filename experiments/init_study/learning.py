"""The training of each initialisation: how fast it learns and how many units differ."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnlab.data import Splits
from cnnlab.diagnose import hidden_units
from cnnlab.report.statistics import over_seeds
from cnnlab.run_directory import METRICS
from cnnlab.studies.study import Study
from cnnlab.train import DivergedError, Recipe, TrainState, member
from cnnlab.train.checkpoint import CheckpointError
from cnnlab.train.records import read_metrics
from cnnlab.train.run import Run

from .config import Config

CURVES = {"train/loss": "training loss", "validation/accuracy": "validation accuracy"}
"""Metrics that are drawn -> the panel's name."""


def learn(s: Study[Config], label: str, recipe: Recipe, splits: Splits) -> dict[str, Any]:
    """Trains a network for each seed, or reads the result of a training that is finished.

    Returns:
      ``curves`` (metric -> [E][M]), ``last`` (the same at the end, over seeds), ``epochs_to_90`` %
      training accuracy, ``diverged`` (step and seeds, or None) and ``distinct_units``.
    """
    name = f"learning-{re.sub(r'[^A-Za-z0-9.=_-]', '-', label)}"
    result: dict[str, Any] = s.cached_json(
        f"{name}/learning.json", lambda: _train(s, name, recipe, splits)
    )
    return result


def curve_panels(learning: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The curves of every initialisation as panels of ``figures.learning``."""
    return {
        text: {label: each["curves"].get(key, []) for label, each in learning.items()}
        for key, text in CURVES.items()
    }


def _train(s: Study[Config], name: str, recipe: Recipe, splits: Splits) -> dict[str, Any]:
    config, shape = s.config.training, splits.train.image_shape
    diverged = None
    states: TrainState | None = None
    try:
        states = s.train(name, recipe, splits.train, splits.validation, config=config).states
    except DivergedError as error:
        diverged = {"step": error.step, "seeds": error.seeds}
        with Run.read(s.directory / name) as run:
            try:
                _, states = run.load(recipe, shape, members=config.seeds, mesh=s.mesh())
            except CheckpointError:  # it diverged in its first epoch
                return {"curves": {}, "last": None, "diverged": diverged}
    curves: dict[str, list[list[float]]] = {}
    for record in read_metrics(s.directory / name / METRICS):
        for key, value in record.items():
            if key not in ("step", "epoch", "learning_rate"):
                curves.setdefault(key, []).append(np.atleast_1d(value).tolist())
    return {
        "curves": curves,
        "last": {key: over_seeds(values[-1]) for key, values in curves.items()},
        "epochs_to_90": _epochs_to(0.9, np.array(curves["train/accuracy"])),
        "diverged": diverged,
        "distinct_units": _distinct_units(recipe, states, config.seeds),
    }


def _epochs_to(accuracy: float, curve: np.ndarray) -> list[int | None]:
    """The first epoch in which each seed reached an accuracy, of a curve [E, M]; None if never."""
    reached = curve >= accuracy
    return [int(each.argmax()) + 1 if each.any() else None for each in reached.T]


def _distinct_units(recipe: Recipe, states: TrainState, members: int) -> dict[str, Any] | None:
    """The fraction of the hidden units that differ from all others of their layer."""
    units: Sequence[dict[str, list[int]]] = [
        hidden_units(recipe.network, member(states, i).params) for i in range(members)
    ]
    if not units[0]:
        return None
    counts = [[sum(column) for column in zip(*each.values(), strict=True)] for each in units]
    fraction = over_seeds([distinct / total for distinct, total in counts])
    return {"fraction": fraction, "first_seed": units[0]}
