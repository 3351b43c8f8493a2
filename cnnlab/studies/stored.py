"""What a study computes once and keeps in its directory for a resume, with checksums.

A file that is damaged is named, and computed again. Files of earlier versions have no checksum in
their JSON, and are read without one.
"""

import hashlib
import io
import json
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cnnlab import npz_files
from cnnlab.files import make_folder, read_json, to_plain, write_bytes, write_json
from cnnlab.processes import first_process
from cnnlab.spelling import one_line

_CHECKSUM = "sha256"
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


def stored_arrays(
    file: pathlib.Path, compute: Callable[[], Mapping[str, np.ndarray]], say: Callable[[str], Any]
) -> dict[str, np.ndarray]:
    """The arrays in an .npz file; where it is missing or damaged they are computed and written.

    Args:
      file: whose zip format has a checksum of each array.
      compute: gives the arrays by name.
      say: prints a line on a damaged file.
    """
    if file.is_file():
        try:
            return npz_files.read(file)
        except _DAMAGED as error:
            say(_damaged(file, error))
    arrays = dict(compute())
    if first_process():
        make_folder(file.parent)
        buffer = io.BytesIO()
        named: Any = arrays
        np.savez_compressed(buffer, **named)
        write_bytes(file, buffer.getvalue())
    return arrays


def stored_json(
    file: pathlib.Path, compute: Callable[[], Mapping[str, Any]], say: Callable[[str], Any]
) -> dict[str, Any]:
    """The JSON object in a file; where it is missing or damaged it is computed and written.

    Args:
      file: gets a field ``sha256``, which is not in what is returned.
      compute: gives the object.
      say: prints a line on a damaged file.
    """
    if file.is_file():
        try:
            document = dict(read_json(file))
            if document.pop(_CHECKSUM, _digest(document)) != _digest(document):
                raise ValueError("it does not fit its checksum")
        except (*_DAMAGED, TypeError) as error:
            say(_damaged(file, error))
        else:
            return document
    computed = dict(compute())
    if first_process():
        make_folder(file.parent)
        plain = to_plain(computed)
        write_json(file, {**plain, _CHECKSUM: _digest(plain)})
    return computed


def _digest(document: Any) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _damaged(file: pathlib.Path, error: Exception) -> str:
    return f"{file} is damaged, and is computed again: {one_line(error)}"
