"""The small files of a run directory: made at its start, locked while a process writes there."""

import operator
import pathlib
from collections.abc import Callable, Collection, Mapping
from typing import IO, Any

from cnnlab.files import (
    read_checked_json,
    read_json,
    write_bytes,
    write_checked_json,
    write_json,
)
from cnnlab.lock import LockedError, hold
from cnnlab.processes import first_process, from_first_process, wait_for_all
from cnnlab.run_directory import (
    CONFIG,
    ENVIRONMENT,
    KEEP_STEPS,
    LOCK,
    RESULT,
    ResumeError,
    read_config,
    read_first_keep_steps,
    write_config,
    write_epochs,
)
from cnnlab.spelling import one_line
from cnnlab.train.environment import differences


def create(
    directory: pathlib.Path,
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    keep_steps: Collection[int],
    files: Mapping[str, bytes],
) -> IO[str] | None:
    """Makes a run directory with its first files, and locks it; see ``Run.create``.

    Returns:
      The lock, which closing it ends; None on other processes than the first.

    Raises:
      FileExistsError: if something is in the directory.
      ResumeError: if another process writes to it.
    """
    if first_process():
        directory.mkdir(parents=True, exist_ok=True)
        _check_empty(directory, files)
    held = lock(directory)
    if first_process():
        _check_empty(directory, files)  # another run may have been quicker
        write_json(directory / ENVIRONMENT, dict(environment))
        (directory / KEEP_STEPS).unlink(missing_ok=True)
        write_keep_steps(directory, keep_steps)
        for name, content in files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(directory / name, content)
        write_config(directory, config, files, keep_steps)
    return held


def _check_empty(directory: pathlib.Path, files: Collection[str]) -> None:
    # A run that was killed before it had a config has left nothing else.
    before = (LOCK, ENVIRONMENT, KEEP_STEPS, *(name.partition("/")[0] for name in files))
    leavings = (*before, *(f"{name}.tmp" for name in (*before, CONFIG)))
    if any(path.name not in leavings for path in directory.iterdir()):
        raise FileExistsError(
            f"the run directory {directory} exists already: choose another one, or go on with the "
            "run in it by --resume."
        )


def first_environment(
    directory: pathlib.Path, now: Mapping[str, Any], say: Callable[[str], Any]
) -> dict[str, Any]:
    """The environment that a run began in, which is compared with the one of ``now``.

    It only serves a warning: where it is gone or damaged that is said, and ``now`` takes its place.

    Args:
      directory: of the run, which is resumed.
      now: ``train.environment.environment()``.
      say: prints a line on each difference that the bits of a resume depend on.
    """
    path = directory / ENVIRONMENT
    try:
        began = dict(read_json(path))
    except (OSError, ValueError, TypeError) as error:
        say(
            f"{path} is gone or damaged: whether this is the machine that the run began on is "
            f"unknown ({type(error).__name__})."
        )
        began = dict(now)
        wait_for_all("environment")  # by all, before the first writes
        if first_process():
            write_json(path, began)
    for line in differences(began, now):
        say(f"warning: not the machine that the run began on, so not the same bits: {line}")
    return began


def lock(directory: pathlib.Path) -> IO[str] | None:
    """Locks a run directory, on the first process.

    Raises:
      ResumeError: if another run holds it: on all processes.
    """
    file, holder = None, None
    if first_process():
        try:
            file = hold(directory / LOCK)
        except LockedError as error:
            holder = error.strerror
    if from_first_process(int(holder is not None)):
        raise ResumeError(
            f"the run in {directory} is being written by {holder or 'another process'}: wait until "
            "it has ended, or stop it, and try again."
        )
    return file


def give_more_epochs(directory: pathlib.Path, epochs: int) -> None:
    """Notes that a run which is resumed trains more epochs than before, where it does.

    A result that it had before is kept as ``result-EPOCHS-epochs.json``: until it has a new one the
    run is not finished.

    Args:
      directory: of the run, locked.
      epochs: all of them; the same for every process.

    Raises:
      ResumeError: if the processes were told different ones.
    """
    if from_first_process(epochs) != epochs:
        raise ResumeError(
            f"the processes of a run must train the same epochs, got {epochs} here and others in "
            "the first: give all the same --epochs."
        )
    if not first_process():
        return
    before = read_config(directory).get("epochs")
    if before in (None, epochs):
        return
    if (directory / RESULT).is_file():
        (directory / RESULT).replace(directory / f"result-{before}-epochs.json")
    write_epochs(directory, epochs)


def read_keep_steps(directory: pathlib.Path, say: Callable[[str], Any]) -> set[int]:
    """The steps whose checkpoints are kept; where the file is damaged, says so.

    Those that the run began with are in its config, too.
    """
    path, first = directory / KEEP_STEPS, read_first_keep_steps(directory)
    if not path.is_file():
        return first
    try:
        return first | {operator.index(step) for step in read_checked_json(path)["steps"]}
    except (ValueError, TypeError, KeyError) as error:
        say(
            f"{path} is damaged, and not used: {one_line(error, 300)}. Checkpoints of steps that a "
            "resume has added may be deleted."
        )
        return first


def write_keep_steps(directory: pathlib.Path, steps: Collection[int]) -> None:
    """Writes the steps whose checkpoints are kept, where there are some."""
    if steps:
        write_checked_json(directory / KEEP_STEPS, {"steps": sorted(int(step) for step in steps)})
