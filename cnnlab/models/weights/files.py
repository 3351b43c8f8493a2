"""Reads files of weights, of any kind, into arrays by name."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
      path: .pth, .pt, .th, .bin, .ckpt or .pth.tar (PyTorch, both formats, read without PyTorch),
        .safetensors, or .npz (of numbers alone, unpacking to at most 200 times its bytes).

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
        f"{path} is truncated, damaged or no safetensors file: {error}. "
        "Fetch the file again from its publisher."
    )


def _read_safetensors(path: Path) -> Contents:
    import safetensors  # noqa: PLC0415 for files of this kind only

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


def _read_npz(path: Path) -> Contents:
    """Archives as ``np.savez`` and ``np.savez_compressed`` write them, of numbers alone.

    All arrays together may take 200 times the bytes of the file; trained weights hardly shrink.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(set(names)) < len(names) or not all(name.endswith(".npy") for name in names):
                raise ValueError(f"it must hold NAME.npy, each once, got {', '.join(names[:5])}")
            size, limit = sum(m.file_size for m in members), _RATIO * path.stat().st_size
            if size > limit:
                raise ValueError(
                    f"it would unpack to {size} bytes, more than {_RATIO} times its own"
                )
            arrays = {m.filename.removesuffix(".npy"): _member(archive, m) for m in members}
            return Contents(arrays, {})
    except Exception as error:  # a damaged archive or header can fail in any of its parts
        reason = str(error) or type(error).__name__
        raise ValueError(
            f"{path} is not an .npz file that can be read: {reason}. It must be one that np.savez "
            "wrote, of arrays of numbers."
        ) from error


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """The array in a .npy file; nothing is allocated before its header and its size agree."""
    name = member.filename
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is packed by method {member.compress_type}, which NumPy is not")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{name} is of version {version}, which numbers have no need of")
        shape, fortran, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise ValueError(f"{name} is an array of Python objects")
        if dtype.kind not in "fiub" or dtype.itemsize > 8:
            raise ValueError(f"{name} is an array of {dtype}, not of numbers of up to 64 bits")
        wanted, there = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
        if any(n < 0 for n in shape) or wanted != there:
            raise ValueError(f"{name} of {shape} {dtype} has {wanted} bytes, but there are {there}")
        row = np.frombuffer(file.read(), dtype)  # which checks the CRC
    return row.astype(dtype.newbyteorder("=")).reshape(shape, order="F" if fortran else "C")


_RATIO = 200
"""The most times its own bytes that an .npz file may unpack to."""

_HEADERS: dict[tuple[int, int], Callable[[Any], tuple[tuple[int, ...], bool, np.dtype]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

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
