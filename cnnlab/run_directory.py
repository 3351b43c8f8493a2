"""The files of a run directory, and what can be read of them without starting JAX.

``config.json`` holds the config and ``identity``: a number that no other run has, and a SHA-256 sum
of both. Each checkpoint repeats both, so that a config that was changed, and a checkpoint of
another run, are noticed. Runs of versions that wrote no ``identity`` are read, and resumed, without
these checks.
"""

import hashlib
import json
import pathlib
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from cnnlab.files import read_json, to_plain, write_bytes, write_json

CONFIG, ENVIRONMENT, RESULT = "config.json", "environment.json", "result.json"
METRICS = "metrics.jsonl"
DATA = "data.npz"
"""Which images are in which part, the class names and the statistics: a ``data.record``."""
CHECKPOINTS, FIGURES = "checkpoints", "figures"
KEEP_STEPS = "keep_steps.json"
"""The steps whose checkpoints a run never deletes, where there are some."""
LOCK = "lock"
"""Held while a process writes to the run, see ``cnnlab.lock``."""

_IDENTITY = "identity"


class ResumeError(ValueError):
    """A run cannot be resumed, or read, as it was asked for."""


def write_config(
    directory: pathlib.Path, config: Mapping[str, Any], files: Mapping[str, bytes] | None = None
) -> None:
    """Writes the files that a run keeps unchanged, then config.json with a new identity.

    Args:
      directory: of the run.
      config: JSON-ready; without a field ``identity``.
      files: their content by name; their SHA-256 sums are in the identity, see ``read_kept``.
    """
    fields, files = to_plain(config), dict(files or {})
    for name, content in files.items():
        write_bytes(directory / name, content)
    run = secrets.token_hex(8)
    kept = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    identity = {"run": run, "files": kept, "sha256": _digest([fields, run, kept])}
    write_json(directory / CONFIG, {**fields, _IDENTITY: identity})


def read_kept(directory: pathlib.Path, name: str) -> bytes:
    """A file that the run keeps unchanged, of ``write_config``.

    Raises:
      ResumeError: if there is no run, or the file is gone or another one.
    """
    path, kept = pathlib.Path(directory) / name, _read(directory)[1].get("files", {})
    if not path.is_file():
        raise ResumeError(
            f"the run in {directory} has no {name}: it was deleted, the run is one of an earlier "
            "version, or it trained on data that its experiment made. Bring the file back, or "
            "train anew."
        )
    content = path.read_bytes()
    if name in kept and hashlib.sha256(content).hexdigest() != kept[name]:
        raise ResumeError(
            f"{path} is damaged, or that of another run: it does not fit the SHA-256 sum in "
            f"{CONFIG}. Bring the run's own back, or train anew."
        )
    return content


def read_config(directory: pathlib.Path) -> dict[str, Any]:
    """The config of the run in ``directory``, without its identity.

    Raises:
      ResumeError: if there is no run, or its config was changed or is damaged.
    """
    return _read(directory)[0]


def read_identity(directory: pathlib.Path) -> dict[str, Any]:
    """What the checkpoints of a run must carry: ``{"run": its number, "config": its digest}``.

    The number is None for a run of a version that gave none.

    Raises:
      ResumeError: if there is no run, or its config was changed or is damaged.
    """
    fields, identity = _read(directory)
    return {"run": identity.get("run"), "config": _digest(fields)}


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
    if identity is None:
        return fields, {}
    signed = [fields, identity.get("run")] if isinstance(identity, dict) else []
    if signed and "files" in identity:
        signed.append(identity["files"])
    if not signed or identity.get("sha256") != _digest(signed):
        raise ResumeError(
            f"{path} was changed or damaged after the run began: it does not fit the SHA-256 sum "
            f"in it. {advice}"
        )
    return fields, identity


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def find_runs(parent: pathlib.Path) -> Iterator[pathlib.Path]:
    """The run directories in ``parent``, by name; those inside of a run are left out."""
    for path in sorted(pathlib.Path(parent).iterdir()):
        if (path / CONFIG).is_file():
            yield path
