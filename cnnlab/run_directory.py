"""The files of a run directory, and what can be read of them without starting JAX.

``config.json`` holds the config and ``identity``: a number that no other run has, the SHA-256 sums
of the files that were written with it, the steps whose checkpoints are kept, and a SHA-256 sum of
all that. Each checkpoint repeats the number and the config's sum, so that a config that was
changed, and a checkpoint or a file of another run, are noticed. Runs of versions that wrote no
``identity`` are read, and resumed, without these checks.
"""

import hashlib
import pathlib
import secrets
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from cnnlab.files import (
    json_digest,
    read_checked_json,
    read_json,
    to_plain,
    write_checked_json,
    write_json,
)

CONFIG, ENVIRONMENT, RESULT = "config.json", "environment.json", "result.json"
METRICS = "metrics.jsonl"
DATA = "data.npz"
"""Which images are in which part, the class names and the statistics: a ``data.record``."""
CHECKPOINTS, FIGURES = "checkpoints", "figures"
KEEP_STEPS = "keep_steps.json"
"""The steps whose checkpoints a run never deletes, those that a resume added among them."""
EPOCHS = "epochs.json"
"""How many epochs a run trains that was given more of them than its config has."""
LOCK = "lock"
"""Held while a process writes to the run, see ``cnnlab.lock``."""

_IDENTITY = "identity"
_BRING_BACK = "Bring it back from a copy, or start a new run."


class ResumeError(ValueError):
    """A run cannot be resumed, or read, as it was asked for."""


def write_config(
    directory: pathlib.Path,
    config: Mapping[str, Any],
    files: Mapping[str, bytes] | None = None,
    keep_steps: Collection[int] = (),
) -> None:
    """Writes config.json with a new identity.

    Args:
      directory: of the run.
      config: JSON-ready; without a field ``identity``.
      files: by name, the bytes of those that were written before, and that ``read_file`` checks.
      keep_steps: the steps whose checkpoints the run never deletes.
    """
    fields = to_plain(config)
    identity: dict[str, Any] = {"run": secrets.token_hex(8)}
    if files:
        identity["files"] = {name: _sha256(data) for name, data in files.items()}
    if keep_steps:
        identity["keep_steps"] = sorted(int(step) for step in keep_steps)
    identity["sha256"] = _identity_digest(fields, identity)
    write_json(directory / CONFIG, {**fields, _IDENTITY: identity})


def read_file(directory: pathlib.Path, name: str) -> bytes | None:
    """A file that was written with the config of a run; None where there is none and never was.

    Raises:
      ResumeError: if there is no run, or the file is gone, damaged or that of another run.
    """
    files = _read(directory)[1].get("files", {})
    path = pathlib.Path(directory) / name
    if not path.is_file():
        if name not in files:
            return None
        raise ResumeError(f"{path} is gone. {_BRING_BACK}")
    data = path.read_bytes()
    if name in files and _sha256(data) != files[name]:
        raise ResumeError(
            f"{path} was changed or damaged after the run began, or is that of another run: it "
            f"does not fit the SHA-256 sum in {CONFIG}. {_BRING_BACK}"
        )
    return data


def kept_files(directory: pathlib.Path) -> tuple[str, ...]:
    """The names of the files that were written with the config of a run, for ``read_file``.

    Raises:
      ResumeError: if there is no run, or its config was changed or is damaged.
    """
    return tuple(_read(directory)[1].get("files", {}))


def read_config(directory: pathlib.Path) -> dict[str, Any]:
    """The config of the run in ``directory``, without its identity.

    Its epochs are those of ``write_epochs``, where it was given more of them.

    Raises:
      ResumeError: if there is no run, or its config was changed or is damaged.
    """
    fields, identity = _read(directory)
    path = pathlib.Path(directory) / EPOCHS
    if not path.is_file():
        return fields
    try:
        longer = read_checked_json(path)
        if longer["run"] != identity.get("run") or not isinstance(longer["epochs"], int):
            raise ValueError("it is that of another run")
    except (ValueError, TypeError, KeyError) as error:
        raise ResumeError(
            f"{path}, how many epochs the run trains, is damaged: {error}. {_BRING_BACK}"
        ) from error
    return {**fields, "epochs": longer["epochs"]}


def write_epochs(directory: pathlib.Path, epochs: int) -> None:
    """Gives a run more epochs than its config has.

    Args:
      directory: of the run.
      epochs: all of them, those that it has trained among them.
    """
    run = _read(directory)[1].get("run")
    write_checked_json(pathlib.Path(directory) / EPOCHS, {"run": run, "epochs": epochs})


def read_identity(directory: pathlib.Path) -> dict[str, Any]:
    """What the checkpoints of a run must carry: ``{"run": its number, "config": its digest}``.

    The number is None for a run of a version that gave none.

    Raises:
      ResumeError: if there is no run, or its config was changed or is damaged.
    """
    fields, identity = _read(directory)
    return {"run": identity.get("run"), "config": json_digest(fields)}


def run_number(directory: pathlib.Path) -> str:
    """What a run has in common with its copies alone; of versions that gave no number, its place.

    Raises:
      ResumeError: if there is no run, or its config was changed or is damaged.
    """
    return str(read_identity(directory)["run"] or pathlib.Path(directory).resolve())


def read_first_keep_steps(directory: pathlib.Path) -> set[int]:
    """The steps whose checkpoints are kept since the run in ``directory`` began.

    Raises:
      ResumeError: if there is no run, or its config was changed or is damaged.
    """
    return set(_read(directory)[1].get("keep_steps", ()))


def _read(directory: pathlib.Path) -> tuple[dict[str, Any], dict[str, Any]]:
    path = pathlib.Path(directory) / CONFIG
    if not path.is_file():
        raise ResumeError(
            f"there is no run in {directory}: {CONFIG} is missing. Give the run directory itself, "
            "the one that was printed when the run began."
        )
    advice = "Restore it from a copy, or start a new run."
    try:
        fields = read_json(path)
    except ValueError as error:
        raise ResumeError(str(error)) from error
    if not isinstance(fields, dict):
        raise ResumeError(f"{path} must hold a JSON object, got {fields!r:.40}. {advice}")
    identity = fields.pop(_IDENTITY, None)
    under_another_name = (each for each in fields.values() if isinstance(each, dict))
    if identity is None and not any({"run", "sha256"} <= set(each) for each in under_another_name):
        return fields, {}
    if not isinstance(identity, dict) or identity.get("sha256") != _identity_digest(
        fields, identity
    ):
        raise ResumeError(
            f"{path} was changed or damaged after the run began: it does not fit the SHA-256 sum "
            f"in it. {advice}"
        )
    return fields, identity


def _identity_digest(fields: Mapping[str, Any], identity: Mapping[str, Any]) -> str:
    further = [identity[name] for name in ("files", "keep_steps") if name in identity]
    return json_digest([fields, identity.get("run"), *further])


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def find_runs(parent: pathlib.Path) -> Iterator[pathlib.Path]:
    """The run directories in ``parent``, by name; those inside of a run are left out."""
    for path in sorted(pathlib.Path(parent).iterdir()):
        if (path / CONFIG).is_file():
            yield path
