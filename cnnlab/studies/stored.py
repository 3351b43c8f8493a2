"""What a study computes once and keeps in its directory for a resume, with checksums.

A file that is damaged, of another run or in another one's place is named, and computed again. JSON
of earlier versions has no checksum, and is read without one.
"""

import io
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cnnlab import npz_files
from cnnlab.files import make_folder, read_checked_json, write_bytes, write_checked_json
from cnnlab.processes import first_process
from cnnlab.run_directory import read_identity
from cnnlab.spelling import one_line

_OF = "__of__"  # the array or the field that says what the others are


def stored_arrays(
    directory: pathlib.Path,
    path: str,
    compute: Callable[[], Mapping[str, np.ndarray]],
    say: Callable[[str], Any],
) -> dict[str, np.ndarray]:
    """The arrays in an .npz file; where it is missing or damaged they are computed and written.

    Args:
      directory: of the run.
      path: of the file in it, whose zip format has a checksum of each array.
      compute: gives the arrays by name.
      say: prints a line on a damaged file.
    """
    file, of = directory / path, _identity(directory, path)
    if file.is_file():
        try:
            arrays = npz_files.read(file)
            written = arrays.pop(_OF, None)
            _check_of(written, " ".join([of, *sorted(arrays)]))
            return arrays
        except (OSError, ValueError) as error:
            say(_damaged(file, error))
    arrays = dict(compute())
    if first_process():
        make_folder(file.parent)
        buffer = io.BytesIO()
        named: Any = {**arrays, _OF: np.asarray(" ".join([of, *sorted(arrays)]))}
        np.savez_compressed(buffer, **named)
        write_bytes(file, buffer.getvalue())
    return arrays


def stored_json(
    directory: pathlib.Path,
    path: str,
    compute: Callable[[], Mapping[str, Any]],
    say: Callable[[str], Any],
) -> dict[str, Any]:
    """The JSON object in a file; where it is missing or damaged it is computed and written.

    Args:
      directory: of the run.
      path: of the file in it, which gets fields of its own that are not in what is returned.
      compute: gives the object.
      say: prints a line on a damaged file.
    """
    file, of = directory / path, _identity(directory, path)
    if file.is_file():
        try:
            document = read_checked_json(file)
            _check_of(document.pop(_OF, None), of)
            return document
        except (OSError, ValueError) as error:
            say(_damaged(file, error))
    computed = dict(compute())
    if first_process():
        make_folder(file.parent)
        write_checked_json(file, {**computed, _OF: of})
    return computed


def _identity(directory: pathlib.Path, path: str) -> str:
    """What a file of a run says that it is."""
    return f"{path} of the run {read_identity(directory)['run']}"


def _check_of(found: Any, of: str) -> None:
    """Raises ValueError for another file; those of earlier versions do not say what they are."""
    if found is not None and str(found) != of:
        raise ValueError(f"it must be {of}, but is {str(found)[:99]}")


def _damaged(file: pathlib.Path, error: Exception) -> str:
    return f"{file} is damaged, and is computed again: {one_line(error, 300)}"
