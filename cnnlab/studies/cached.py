"""What is computed once and kept in a study's directory for a resume."""

import io
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cnnlab.files import read_json, write_bytes, write_json
from cnnlab.processes import first_process


def cached_arrays(
    file: pathlib.Path, compute: Callable[[], Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Arrays by name: those in the .npz, or else those of ``compute``, which are written to it."""
    if file.is_file():
        with np.load(file) as kept:
            return {name: kept[name] for name in kept.files}
    arrays = dict(compute())
    if first_process():
        file.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        named: Any = arrays
        np.savez_compressed(buffer, **named)
        write_bytes(file, buffer.getvalue())
    return arrays


def cached_json(file: pathlib.Path, compute: Callable[[], Any]) -> Any:
    """The JSON document in the file, or else that of ``compute``, which is written to it."""
    if file.is_file():
        return read_json(file)
    document = compute()
    if first_process():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_json(file, document)
    return document
