"""The settings of a run that goes on: those of its directory, with which nothing may disagree."""

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from experiments import launch
from experiments.config import Training, disagreements, experiment_of, from_plain

AnyConfig = TypeVar("AnyConfig", bound=Training)


def command_line(
    module: str, run: Callable[[Any], Any], default: Training, description: str | None
) -> None:
    """Does what the command line says.

    Args:
      module: the entry module, such as "experiments.train".
      run: the experiment.
      default: its config, for what is left out.
      description: above the options in the help.
    """
    launch.prepare()
    with launch.speaking_plainly(module):
        config = parse(default, sys.argv[1:], description)
        launch.join_processes(config.coordinator, config.processes, config.process_id)
        run(config)


def parse(default: AnyConfig, arguments: Sequence[str], description: str | None) -> AnyConfig:
    """The config that the command line says; with ``--resume``, that of the run which goes on.

    Args:
      default: what holds where an option is left out.
      arguments: of the command line.
      description: above the options in the help.

    Raises:
      ResumeError: if there is no run to resume, or an option disagrees with it.
    """
    import tyro

    kind = type(default)
    directory = launch.option_value(arguments, "--resume")
    if directory is None:
        return tyro.cli(kind, args=arguments, default=default, description=description)
    stored = _stored(kind, pathlib.Path(directory))
    # The processes are those of today, not those that the run began with.
    stored = dataclasses.replace(stored, coordinator=None, processes=None, process_id=None)
    return _agreeing(tyro.cli(kind, args=arguments, default=stored), stored)


def resumed(config: AnyConfig) -> AnyConfig:
    """The config of the run that ``config.resume`` names.

    Fields of ``config`` that are at their defaults say nothing; others must agree.

    Raises:
      ResumeError: if there is no run, or a field disagrees (it says which).
    """
    assert config.resume is not None
    stored = _stored(type(config), config.resume)
    changed = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != field.default
    }
    return _agreeing(dataclasses.replace(stored, **changed), stored)


def _stored(kind: type[AnyConfig], directory: pathlib.Path) -> Any:
    from cnnlab.train.run import ResumeError, read_config

    fields = read_config(directory)
    if "part_of" in fields:
        parents = directory.resolve().parents
        whole = next((path for path in parents if path.name == fields["part_of"]), parents[0])
        raise ResumeError(
            f"{directory} is a part of the experiment in {whole}, whose module trains it in its "
            "own way: resume that one."
        )
    ours, theirs = experiment_of(kind), fields.get("experiment")
    if theirs not in (None, ours):
        raise ResumeError(
            f"the run in {directory} is one of experiments.{theirs}, and cannot go on as one of "
            f"experiments.{ours}: python -m experiments.{theirs} --resume {directory}."
        )
    return from_plain(kind, fields)


def _agreeing(config: AnyConfig, stored: AnyConfig) -> AnyConfig:
    """``config``, where nothing that the numbers depend on disagrees with the ``stored`` one."""
    from cnnlab.train.run import ResumeError

    lines = disagreements(config, stored)
    if lines:
        raise ResumeError(
            f"the run in {config.resume} cannot go on with other settings: {'; '.join(lines)}. "
            "Leave them out, or start a new run."
        )
    return config
