"""Files written whole or not at all, and JSON documents among them.

JSON has no NaN and no infinity: both are written as ``null``.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

PathLike = str | os.PathLike[str]

_CHECKSUM = "sha256"

# No space left, over the quota, over the limit of a file's size.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_json(path: PathLike, value: Any) -> None:
    """Writes a JSON document atomically: a reader sees the old file or the new one, whole.

    Args:
      path: the file; its folder must exist.
      value: dicts with string keys, sequences, numbers, strings, None, paths, dataclasses, and
        NumPy or JAX arrays and scalars (of any dtype; an array becomes nested lists). NaN and
        infinities become null.

    Raises:
      TypeError: a value that JSON cannot hold, naming where it stands.
      OSError: the file could not be written; the old one is untouched. A full disk is named.
    """
    text = json.dumps(to_plain(value), indent=2, allow_nan=False) + "\n"
    write_bytes(path, text.encode())


def read_json(path: PathLike) -> Any:
    """Reads a JSON document.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is damaged, naming the file and the place.
    """
    try:
        return json.loads(pathlib.Path(path).read_bytes())
    except (ValueError, RecursionError) as error:  # JSONDecodeError, UnicodeDecodeError
        raise ValueError(
            f"{os.fspath(path)} must hold JSON, but it is damaged: {error}. "
            "Restore it from a copy, or start the run again in a new run directory."
        ) from error


def write_checked_json(path: PathLike, value: Mapping[str, Any]) -> None:
    """Writes a JSON object as ``write_json`` does, with a field ``sha256`` that is of the others.

    Args:
      path: the file; its folder must exist.
      value: a dict with string keys, as of ``write_json``.
    """
    fields = to_plain(value)
    write_json(path, {**fields, _CHECKSUM: json_digest(fields)})


def read_checked_json(path: PathLike) -> dict[str, Any]:
    """Reads what ``write_checked_json`` wrote, without its field ``sha256``.

    An object of an earlier version, which has no such field, is read without the check.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is damaged or no JSON object, naming the file.
    """
    fields = read_json(path)
    if not isinstance(fields, dict):
        raise ValueError(
            f"{os.fspath(path)} must hold a JSON object, but it is damaged: {fields!r:.40}."
        )
    expected = fields.pop(_CHECKSUM, None)
    if expected is not None and expected != json_digest(fields):
        raise ValueError(
            f"{os.fspath(path)} was changed or damaged: it does not fit the SHA-256 sum in it. "
            "Restore it from a copy."
        )
    return fields


def json_digest(document: Any) -> str:
    """The SHA-256 sum of a JSON document, in whatever order its keys are."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def write_bytes(path: PathLike, data: bytes) -> None:
    """Writes a file atomically: to ``NAME.tmp`` beside it, synced, then put in its place.

    Raises:
      OSError: naming the file and, on a full disk, what to do; an older file is untouched.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(path.name + ".tmp")
    with naming(path):
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def make_folder(path: PathLike) -> pathlib.Path:
    """Makes a folder, with those above it, where it is missing; returns its path.

    Raises:
      NotADirectoryError: if it, or what it should lie in, is a file.
      OSError: if it could not be made.
    """
    path = pathlib.Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise NotADirectoryError(
            errno.ENOTDIR, "this must be a folder, but a file is in its place: move that", str(path)
        ) from error
    return path


def to_plain(value: Any, where: str = "value") -> Any:
    """The value as `json.dumps` takes it, see `write_json`; ``where`` names it in errors."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {f.name: to_plain(getattr(value, f.name), f"{where}.{f.name}") for f in fields}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"the keys of {where} must be strings, got {key!r}.")
        return {key: to_plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if hasattr(value, "__array__"):
        array = value.__array__()  # NumPy itself is not imported here: it takes a tenth of a second
        if array.dtype.kind == "V":  # bfloat16 and the other small floats
            array = array.astype("float64")
        if array.dtype.kind in "biufU":
            return to_plain(array.tolist(), where)
    raise TypeError(
        f"{where} must be something that JSON can hold, got {type(value).__name__}. "
        "Turn it into numbers, strings, lists or dicts first."
    )


@contextlib.contextmanager
def naming(path: PathLike) -> Iterator[None]:
    """Makes an OSError name the file and, on a full disk, say what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            message = (
                f"{os.strerror(error.errno)} while writing this file; what it held before is "
                "intact. Free some space and try again; a training goes on by --resume"
            )
            raise OSError(error.errno, message, os.fspath(path)) from error
        if error.filename is None:
            raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error
        raise
