"""Features on disk: ``features.npy``, and ``cache.json`` with the fingerprints of their sources.

The JSON is written last: without it a directory has no features, whatever else it holds. The first
process writes, and all read; of several runs that compute the same features, the first one's are
kept. A run that is killed while it writes leaves ``features.npy.*.tmp``.
"""

import contextlib
import errno
import json
import math
import os
import pathlib
import secrets
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from cnnlab.files import read_json, write_json
from cnnlab.processes import first_process, from_first_process, wait_for_all

FEATURES, ABOUT = "features.npy", "cache.json"

_CHUNK = 2**26  # bytes whose checksum is taken at once

_DESCRIPTIONS = {
    "weights": "other weights or statistics of normalisation",
    "network": "another network",
    "data": "another data set",
    "stage": "another stage",
    "copies": "another number of augmented copies",
    "seed": "another seed of the augmentation",
    "dtype": "another dtype",
    "prepare": "images that were normalised in another way",
    "augment": "another augmentation",
}


def write(
    directory: pathlib.Path,
    about: Mapping[str, Any],
    parts: Iterable[np.ndarray],
    shape: tuple[int, ...],
    dtype: np.dtype,
) -> None:
    """Writes features atomically: a reader sees all of them or none. All processes must call it.

    Args:
      directory: created where it is missing.
      about: fingerprints by name, JSON values.
      parts: the features one after the other, of ``dtype``; ``shape`` together.
      shape: ``(N, ...)``.
      dtype: float32 or float16.

    Raises:
      OSError: if they could not be written; the temporary file is removed.
    """
    if first_process():
        _write(directory, about, parts, shape, dtype)
    else:
        for _ in parts:  # computed by all processes together
            pass
    wait_for_all("features")


def _write(
    directory: pathlib.Path,
    about: Mapping[str, Any],
    parts: Iterable[np.ndarray],
    shape: tuple[int, ...],
    dtype: np.dtype,
) -> None:
    if directory.exists() and not directory.is_dir():
        raise NotADirectoryError(
            f"features are written into a directory, and {directory} is a file: choose another."
        )
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / FEATURES
    temporary = path.with_name(f"{FEATURES}.{secrets.token_hex(4)}.tmp")
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    checksum = 0
    try:
        with open(temporary, "wb") as file:
            np.lib.format.write_array_header_2_0(file, header)
            for part in parts:
                data = np.ascontiguousarray(part).data.cast("B")
                checksum = zlib.crc32(data, checksum)
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if (directory / ABOUT).is_file():  # another run has finished first
            temporary.unlink()
            return
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            gigabytes = math.prod(shape) * dtype.itemsize / 1e9
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            advice = (
                "Free some space, choose another directory, keep them in memory (directory=None) "
                "or in half the space (dtype='float16')"
                if full
                else "Choose another directory, or keep them in memory (directory=None)"
            )
            message = f"{error.strerror} while writing {gigabytes:.3g} GB of features. {advice}"
            raise OSError(error.errno, message, os.fspath(path)) from error
        raise
    document = {"made_of": dict(about), "shape": shape, "dtype": dtype.name, "checksum": checksum}
    write_json(directory / ABOUT, document)


def exists(directory: pathlib.Path) -> bool:
    """True if there are complete features; the first process decides for all of them."""
    # Another run may be writing: each process on its own might see something else.
    return bool(from_first_process(int((directory / ABOUT).is_file())))


def read(directory: pathlib.Path, about: Mapping[str, Any], memory_limit: int) -> np.ndarray:
    """The features in ``directory``.

    Args:
      directory: where they were written.
      about: the fingerprints that they must have.
      memory_limit: bytes that are read into memory; more are memory-mapped.

    Raises:
      ValueError: if there are none, their fingerprints differ (the differences are named), or they
        are damaged.
    """
    if not (directory / ABOUT).is_file():
        raise ValueError(
            f"{directory} must hold features, but has no {ABOUT}. With several processes, choose a "
            "directory that all of them see."
        )
    stored = read_json(directory / ABOUT)
    try:
        made_of, shape, checksum = stored["made_of"], tuple(stored["shape"]), stored["checksum"]
        dtype = np.dtype(stored["dtype"])
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{directory / ABOUT} must hold fingerprints of features, but holds something else. "
            "Choose another directory."
        ) from error
    _check(directory, made_of, json.loads(json.dumps(dict(about))))
    advice = f"Delete {directory} to have them computed again."
    try:
        features = np.load(directory / FEATURES, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"the features in {directory} are damaged: {error}. {advice}") from error
    if features.shape != shape or features.dtype != dtype or _checksum(features) != checksum:
        raise ValueError(
            f"the features in {directory} are damaged: they are not those that were written. "
            + advice
        )
    return np.array(features) if features.nbytes <= memory_limit else features


def _check(directory: pathlib.Path, was: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    different = [name for name in wanted if not _equal_up_to_rounding(was.get(name), wanted[name])]
    if different:
        differences = "; ".join(
            f"{_DESCRIPTIONS.get(name, name)}" + _values(was.get(name), wanted[name])
            for name in different
        )
        raise ValueError(
            f"the features in {directory} must be of the same weights, data and settings to be "
            f"used again, but were made of {differences}. Choose another directory, or delete "
            "this one."
        )


def _equal_up_to_rounding(was: Any, wanted: Any) -> bool:
    if isinstance(wanted, list) and isinstance(was, list):  # of numbers, up to rounding
        return len(was) == len(wanted) and bool(np.allclose(was, wanted, rtol=1e-4, atol=1e-4))
    return bool(was == wanted)


def _values(was: Any, wanted: Any) -> str:
    if isinstance(wanted, list) or isinstance(was, list):
        return ""
    return f" ({was}, and now {wanted})"


def _checksum(features: np.ndarray) -> int:
    checksum = 0
    rows = max(1, _CHUNK // max(1, features[:1].nbytes))
    for start in range(0, len(features), rows):
        data = np.ascontiguousarray(features[start : start + rows]).data.cast("B")
        checksum = zlib.crc32(data, checksum)
    return checksum
