"""Reads files of weights, of any kind, into arrays by name."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np

from cnnlab.models.weights import torch_files
from cnnlab.models.weights.torch_files import Contents
from cnnlab.spelling import unknown

_SAFETENSORS = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
}


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays in a file of weights, by the names that they have there.

    Args:
      path: .pth, .pt, .th or .bin (PyTorch, both formats, read without PyTorch), .safetensors, or
        .npz.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if the extension is none of these, or the file is truncated, damaged, of another
        kind, or asks for code to be run (nothing of it is run).
    """
    return read_contents(path).tensors


def read_contents(path: str | Path) -> Contents:
    """As :func:`read`, with the names of what was left because it is no tensor."""
    path = Path(path)
    if path.suffix.lower() not in _READERS:
        raise ValueError(f"{path}: {unknown('kind of weights', path.suffix, _READERS)}")
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a file of weights, but there is no such file.")
    return _READERS[path.suffix.lower()](path)


def _read_safetensors(path: Path) -> Contents:
    import safetensors

    try:
        found = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is truncated, damaged or no safetensors file: {error}. "
            "Fetch the file again from its publisher."
        ) from error
    tensors = {}
    for name, item in found:
        if item["dtype"] not in _SAFETENSORS:
            raise ValueError(f"{path}, {name}: {unknown('dtype', item['dtype'], _SAFETENSORS)}")
        dtype = np.dtype(_SAFETENSORS[item["dtype"]])
        tensors[name] = np.frombuffer(item["data"], dtype).reshape(item["shape"])
    return Contents(dict(sorted(tensors.items())), {})


def _read_npz(path: Path) -> Contents:
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("it holds one array (.npy), not several by name")
        with file:
            return Contents({key: file[key] for key in file.files}, {})
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        reason = str(error)
        if "pickle" in reason:
            reason = "an array of Python objects, or no .npz file; arrays must be of numbers"
        raise ValueError(f"{path} is not an .npz file that can be read: {reason}.") from error


_READERS: dict[str, Callable[[Path], Contents]] = {
    ".pth": torch_files.read,
    ".pt": torch_files.read,
    ".th": torch_files.read,
    ".bin": torch_files.read,
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
}
