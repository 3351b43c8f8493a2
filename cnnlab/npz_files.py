"""Reads NumPy's .npz archives; nothing is allocated before the headers and the file agree."""

import io
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab import limits
from cnnlab.spelling import one_line

_CHUNK = 2**20  # bytes

_HEADERS: dict[tuple[int, int], Callable[[Any], tuple[tuple[int, ...], bool, np.dtype]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read(
    path: str | Path, kinds: str = "fiubUS", *, data: bytes | None = None
) -> dict[str, np.ndarray]:
    """The arrays in an archive as ``np.savez`` and ``np.savez_compressed`` write it.

    Args:
      path: the file.
      kinds: the kinds of dtypes that it may hold, as of ``np.dtype.kind``: by default real numbers
        of up to 64 bits and text. Objects would need unpickling and are always refused.
      data: the archive, where it is only a part of the file.

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if the file is damaged, of another kind, holds other arrays or asks for more than
        ``cnnlab.limits`` allows; it is named.
    """
    path, own = Path(path), None if data is None else len(data)
    try:
        with path.open("rb") if data is None else io.BytesIO(data) as file:
            if file.read(6) == np.lib.format.MAGIC_PREFIX:
                raise ValueError("it holds one array (.npy), not several by name")
        with zipfile.ZipFile(path if data is None else io.BytesIO(data)) as archive:
            members = archive.infolist()
            names = [member.filename for member in members]
            if len(set(names)) < len(names) or not all(name.endswith(".npy") for name in names):
                raise ValueError(f"it must hold NAME.npy, each once, got {', '.join(names[:5])}")
            limits.check_arrays(path, len(members))
            limits.check_unpacked(path, sum(member.file_size for member in members), own)
            return {
                member.filename.removesuffix(".npy"): _member(archive, member, kinds)
                for member in members
            }
    except (limits.LimitError, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # a damaged archive or header can fail in any of its parts
        what = "numbers and text" if "U" in kinds else "numbers"
        raise ValueError(
            f"{path} is not an .npz file that can be read: {one_line(error, 300)}. It must be one "
            f"that np.savez wrote, of arrays of {what}."
        ) from error


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, kinds: str) -> np.ndarray:
    """The array in a .npy file."""
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
        wide = dtype.itemsize > 8 and dtype.kind not in "US"
        if dtype.kind not in kinds or wide or not dtype.itemsize:
            raise ValueError(f"{name} is an array of {dtype}, not of numbers of up to 64 bits")
        wanted, there = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
        if any(n < 0 for n in shape) or wanted != there:
            raise ValueError(f"{name} of {shape} {dtype} has {wanted} bytes, but there are {there}")
        buffer = np.empty(wanted, np.uint8)
        for start in range(0, wanted, _CHUNK):
            size = min(_CHUNK, wanted - start)
            chunk = file.read(size)  # at the end it checks the CRC
            if len(chunk) < size:
                raise ValueError(f"{name} ends before the size that the archive gives it")
            buffer[start : start + len(chunk)] = np.frombuffer(chunk, np.uint8)
    native = buffer.view(dtype).astype(dtype.newbyteorder("="), copy=False)
    return native.reshape(shape, order="F" if fortran else "C")
