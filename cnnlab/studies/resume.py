"""The settings of a run that goes on: those of its directory, with which nothing may disagree.

Importing this module imports no jax.
"""

import dataclasses
import pathlib

from cnnlab.run_directory import CONFIG, ResumeError, read_config
from cnnlab.studies.network_sources import check_sources
from cnnlab.studies.settings import (
    FREE_ON_RESUME,
    AnyConfig,
    changed_fields,
    experiment_name,
    from_json,
    with_absolute_paths,
)
from cnnlab.studies.stored_fields import check_no_others


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
        known = [field.name for field in dataclasses.fields(kind)]
        config = from_json(kind, fields)
        check_no_others(fields, [*known, "experiment"])
    except ValueError as error:
        raise ResumeError(
            f"{pathlib.Path(directory) / CONFIG} cannot be gone on with: {error}. Correct it, or "
            "resume the run with the version that wrote it."
        ) from error
    check_sources(directory, config)
    return config


def check_agreement(config: AnyConfig, stored: AnyConfig) -> AnyConfig:
    """``config``, where nothing that the numbers depend on disagrees with the ``stored`` one.

    Raises:
      ResumeError: if something does; it says which fields.
    """
    config = with_absolute_paths(config)
    lines = [
        f"{field.name} was {getattr(stored, field.name)!r}, "
        f"and is now {getattr(config, field.name)!r}"
        for field in dataclasses.fields(config)
        if field.name not in FREE_ON_RESUME
        and getattr(config, field.name) != getattr(stored, field.name)
    ]
    if lines:
        raise ResumeError(
            f"the run in {config.resume} cannot go on with other settings: {'; '.join(lines)}. "
            "Leave them out, or start a new run."
        )
    return config
