"""Reads files of weights, of any kind, into arrays by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np

from cnnlab import limits, npz_files
from cnnlab.models.weights import torch_files
from cnnlab.models.weights.torch_files import Contents
from cnnlab.spelling import one_line, unknown

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
      path: .pth, .pt, .th, .bin, .ckpt or .pth.tar (PyTorch, both formats, read without PyTorch),
        .safetensors, or .npz (of numbers alone). What they unpack to and how many arrays they hold
        is bounded by ``cnnlab.limits``.

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


def read_metadata(path: str | Path) -> dict[str, str]:
    """The text by name at the head of a .safetensors file; nothing for other kinds.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if it is truncated or damaged.
    """
    import safetensors  # noqa: PLC0415 for files of this kind only

    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        return {}
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a file of weights, but there is no such file.")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return dict(file.metadata() or {})
    except safetensors.SafetensorError as error:
        raise ValueError(_damaged(path, error)) from error


def _damaged(path: Path, error: Exception) -> str:
    return (
        f"{path} is truncated, damaged or no safetensors file: {one_line(error, 300)}. "
        "Fetch the file again from its publisher."
    )


def _read_safetensors(path: Path) -> Contents:
    import safetensors  # noqa: PLC0415 for files of this kind only

    _check_safetensors(path)
    try:
        entries = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise ValueError(_damaged(path, error)) from error
    tensors = {}
    for name, item in entries:
        if item["dtype"] not in _SAFETENSORS:
            raise ValueError(f"{path}, {name}: {unknown('dtype', item['dtype'], _SAFETENSORS)}")
        dtype = np.dtype(_SAFETENSORS[item["dtype"]])
        tensors[name] = np.frombuffer(item["data"], dtype).reshape(item["shape"])
    return Contents(dict(sorted(tensors.items())), {})


def _check_safetensors(path: Path) -> None:
    """Checks the number of tensors; whether they lie in the file, the library checks."""
    size, longest = path.stat().st_size, _DESCRIPTION * limits.arrays
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > size - 8:
            return  # no safetensors file, which the library says
        if length > longest:
            raise limits.LimitError(
                f"{path} must describe its tensors in at most {longest} bytes, got {length}. If "
                "you trust it, raise cnnlab.limits.arrays (CNNLAB_ARRAYS)."
            )
        header = file.read(length)
    limits.check_arrays(path, header.count(b'"data_offsets"'))


_DESCRIPTION = 1000
"""The bytes that a tensor may take in the header of a safetensors file: mostly its name."""


def _read_npz(path: Path) -> Contents:
    return Contents(npz_files.read(path, kinds="fiub"), {})


_READERS: dict[str, Callable[[Path], Contents]] = {
    ".pth": torch_files.read,
    ".pt": torch_files.read,
    ".th": torch_files.read,
    ".bin": torch_files.read,
    ".ckpt": torch_files.read,
    ".tar": torch_files.read,
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
}
