"""The settings of a run that goes on: those of its directory, with which nothing may disagree.

Importing this module imports no jax.
"""

import dataclasses
import pathlib
from typing import Any

from cnnlab.files import read_json
from cnnlab.run_directory import CONFIG, ResumeError, read_config
from cnnlab.studies.network_sources import check_sources
from cnnlab.studies.settings import (
    FREE_ON_RESUME,
    AnyConfig,
    Training,
    changed_fields,
    experiment_name,
    from_json,
    warmup_epochs,
    with_absolute_paths,
    with_current_names,
)
from cnnlab.studies.stored_fields import check_no_others

ENDLESS_SCHEDULES = ("constant",)
"""Schedules whose rate at a step does not depend on the number of epochs."""

_NOT_TAKEN = frozenset(
    {"identity", "run_dir", "runs", "resume", "coordinator", "processes", "process_id"}
)
"""Fields of a config.json that a new run with its settings does not take over."""


def resumed_config(config: AnyConfig) -> AnyConfig:
    """The config of the run that ``config.resume`` names.

    Fields of ``config`` that are at their defaults say nothing; others must agree.

    Raises:
      ResumeError: if there is no run, or a field disagrees (it says which).
    """
    assert config.resume is not None
    stored = stored_config(type(config), config.resume)
    changes = {name: getattr(config, name) for name in changed_fields(config)}
    return check_agreement(dataclasses.replace(stored, **changes), stored)


def stored_config(kind: type[AnyConfig], directory: pathlib.Path) -> AnyConfig:
    """The config of the run in ``directory``, one of the experiment of the class ``kind``.

    Raises:
      ResumeError: if there is no run, it is a part of a study or one of another experiment, or the
        files that make its network have changed.
    """
    fields = read_config(directory)
    if "part_of" in fields:
        parents = directory.resolve().parents
        study = next((path for path in parents if path.name == fields["part_of"]), parents[0])
        raise ResumeError(
            f"{directory} is a part of the experiment in {study}, whose module trains it in its "
            "own way: resume that one."
        )
    ours, theirs = experiment_name(kind), fields.get("experiment")
    if theirs not in (None, ours):
        raise ResumeError(
            f"the run in {directory} is one of experiments.{theirs}, and cannot go on as one of "
            f"experiments.{ours}: python -m experiments.{theirs} --resume {directory}."
        )
    try:
        config = _complete_config(kind, fields)
    except ValueError as error:
        raise ResumeError(
            f"{pathlib.Path(directory) / CONFIG} cannot be gone on with: {error}. Correct it, or "
            "resume the run with the version that wrote it."
        ) from error
    check_sources(directory, config)
    return config


def config_from_file(kind: type[AnyConfig], path: pathlib.Path) -> AnyConfig:
    """The settings of another run, for a new one: all but its place and its processes.

    Args:
      kind: of the config.
      path: of its config.json, which may be a copy that was edited, of the run directory, or of a
        result.json, whose field ``config`` they are.

    Raises:
      FileNotFoundError: if it is not there.
      ValueError: if it does not hold the settings of the experiment of the class ``kind``.
    """
    path = pathlib.Path(path).expanduser()
    path = path / CONFIG if path.is_dir() else path
    fields = read_json(path)
    if not isinstance(fields, dict):
        raise ValueError(f"{path} must hold the settings of a run, such as its {CONFIG}.")
    if isinstance(fields.get("config"), dict):
        fields = {"experiment": fields.get("experiment"), **fields["config"]}
    ours, theirs = experiment_name(kind), fields.get("experiment", "none")
    if theirs != ours:
        other = "a part of a study" if "part_of" in fields else f"of experiments.{theirs}"
        other = "of no experiment" if theirs == "none" and "part_of" not in fields else other
        raise ValueError(
            f"--config must be the {CONFIG} of a run of experiments.{ours}, got {path}, {other}."
        )
    fields = {name: value for name, value in fields.items() if name not in _NOT_TAKEN}
    try:
        return _complete_config(kind, fields)
    except ValueError as error:
        raise ValueError(f"{path}: {error}. Correct it in a copy of the file.") from error


def _complete_config(kind: type[AnyConfig], fields: dict[str, Any]) -> AnyConfig:
    """The config of ``fields``, all of which it has.

    Raises:
      ValueError: for a field that it does not have.
    """
    fields = with_current_names(kind, fields)
    config = from_json(kind, fields)
    check_no_others(fields, [*(field.name for field in dataclasses.fields(kind)), "experiment"])
    return config


def why_no_more_epochs(config: Training, stored: Training) -> str | None:
    """Why a run cannot go on to other epochs, in brackets; None where it can.

    It can where a run that had been given them from the start would have done the same so far: to
    the bit, since nothing but the schedule and the warm-up looks at their number.

    Args:
      config: with the other epochs.
      stored: of the run.
    """
    if experiment_name(type(stored)) != "train":
        return " (only a run of experiments.train can be given more of them)"
    if config.epochs < stored.epochs:
        return " (there can only be more of them)"
    if stored.schedule not in ENDLESS_SCHEDULES:
        return (
            f" (the schedule {stored.schedule} is over all epochs, so more of them have other "
            f"rates from the start; it is possible with {' or '.join(ENDLESS_SCHEDULES)})"
        )
    before, now = warmup_epochs(stored), warmup_epochs(config)
    if before != now:
        return f" (the warm-up was {before:g} epochs, and of so many epochs it is {now:g})"
    return None


def check_agreement(config: AnyConfig, stored: AnyConfig) -> AnyConfig:
    """``config``, where nothing that the numbers depend on disagrees with the ``stored`` one.

    More epochs do not disagree where the first of them are the same either way.

    Raises:
      ResumeError: if something does; it says which fields.
    """
    config = with_absolute_paths(config)
    lines = []
    for name in (field.name for field in dataclasses.fields(config)):
        before, now = getattr(stored, name), getattr(config, name)
        if name in FREE_ON_RESUME or now == before:
            continue
        why_not = why_no_more_epochs(config, stored) if name == "epochs" else ""
        if why_not is not None:
            lines.append(f"{name} was {before!r}, and is now {now!r}{why_not}")
    if lines:
        raise ResumeError(
            f"the run in {config.resume} cannot go on with other settings: {'; '.join(lines)}. "
            "Leave them out, or start a new run."
        )
    return config
