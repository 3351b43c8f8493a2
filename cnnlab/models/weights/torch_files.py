"""Reads the checkpoints of PyTorch (.pth, .pt, .th, .bin, .ckpt, .pth.tar) without PyTorch.

Both formats: the zip archive of version 1.6 and later, and the stream of pickles before it. The
tensors are found through an unpickler that admits tensors and nothing else.
"""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cnnlab.models.weights import unpickler
from cnnlab.models.weights.unpickler import Storage, Tensor
from cnnlab.spelling import one_line
from cnnlab.unpickling import RefusedError

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

_LONGEST = 1000

# What training scripts call the network's tensors when they save more than those.
_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "params",
             "student", "state_dict_ema", "model_ema", "params_ema", "ema")  # fmt: skip


class Contents(NamedTuple):
    """The content of a file of weights.

    Attributes:
      tensors: arrays by name, read-only.
      dropped: what else was there, by name, with the reason why it was left.
    """

    tensors: dict[str, np.ndarray]
    dropped: dict[str, str]


def read(path: Path) -> Contents:
    """The tensors of the checkpoint at ``path``, with names joined by dots.

    Where the file holds more than the network's tensors (``{"state_dict": …, "epoch": …}``), those
    of the network are taken and the rest is named in ``dropped``. bfloat16 stays bfloat16
    (of ``ml_dtypes``).

    Raises:
      FileNotFoundError: if there is no file.
      ValueError: if the file is truncated, damaged, of another kind, holds no tensors by name, or
        asks for code to be run (nothing of it is run); the file is named.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a PyTorch checkpoint, but there is no such file.")
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"PK"
        return _contents(_read_zip(path) if zipped else _read_stream(path.read_bytes()))
    except RefusedError as error:
        raise ValueError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle can fail in any of the operations it is made of
        raise ValueError(
            f"{path} is truncated, damaged or no PyTorch checkpoint: {one_line(error, 300)}. "
            "Fetch the file again from its publisher."
        ) from error


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        root = _archive_root(members)
        _check_members(members, path.stat().st_size)
        if f"{root}byteorder" in members and archive.read(f"{root}byteorder") != b"little":
            raise RefusedError("the tensors are big-endian; save them on a little-endian machine.")
        storages: dict[str, Storage] = {}

        def storage(dtype: np.dtype, key: str, count: int) -> Storage:
            if key not in storages:
                storages[key] = Storage(dtype, count)
                name = f"{root}data/{key}"
                size = members[name].file_size if name in members else 0
                if size != storages[key].nbytes:
                    raise RefusedError(_wrong_size(key, storages[key], size))
                storages[key].data = archive.read(name)  # which checks the CRC
            return _check_same_storage(storages[key], dtype, key, count)

        return unpickler.load(io.BytesIO(archive.read(f"{root}data.pkl")), storage)


def _check_members(members: dict[str, zipfile.ZipInfo], size: int) -> None:
    """No zip bombs: PyTorch compresses nothing, so the members together fit into the file."""
    packed = [name for name, info in members.items() if info.compress_type != zipfile.ZIP_STORED]
    if packed or sum(info.file_size for info in members.values()) > size:
        raise RefusedError(
            f"the members of a PyTorch archive are stored as they are; here {packed[:1] or 'they'} "
            f"would unpack to more than the file has ({size} bytes). Save it again with torch.save."
        )


def _archive_root(members: dict[str, zipfile.ZipInfo]) -> str:
    roots = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise RefusedError(
            "a zip archive of PyTorch holds one NAME/data.pkl; this holds "
            f"{', '.join(list(members)[:5]) or 'nothing'}. It is another kind of archive."
        )
    if f"{roots[0]}constants.pkl" in members:
        raise RefusedError(
            "this is a TorchScript program, not tensors; save those: "
            "torch.save(torch.jit.load(path).state_dict(), other)."
        )
    return roots[0]


def _read_stream(data: bytes) -> Any:
    stream = io.BytesIO(data)
    if data[257:262] == b"ustar":
        raise RefusedError("the tar format of PyTorch before 2017 is not read; save it again.")
    try:
        magic = unpickler.load(stream)
    except RefusedError:
        raise
    except Exception as error:
        raise ValueError(
            f"it must begin as a zip archive or with PyTorch's number; it begins with {data[:8]!r}"
        ) from error
    if magic != _MAGIC or unpickler.load(stream) != _PROTOCOL:
        raise ValueError("it must begin with PyTorch's number, but begins with another pickle")
    system = unpickler.load(stream)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise RefusedError("the tensors are big-endian; save them on a little-endian machine.")

    storages: dict[str, Storage] = {}

    def storage(dtype: np.dtype, key: str, count: int, view: Any = None) -> Storage:
        if view is not None:
            raise RefusedError("views of storages, of PyTorch before 0.4, are not read.")
        return _check_same_storage(
            storages.setdefault(key, Storage(dtype, count)), dtype, key, count
        )

    content = unpickler.load(stream, storage)
    keys = unpickler.load(stream)
    if not all(isinstance(key, str) for key in keys) or sorted(keys) != sorted(storages):
        raise ValueError(f"{len(storages)} storages are referred to, {len(keys)} announced")
    for key in keys:
        _fill(storages[key], key, data, stream)
    return content


def _fill(storage: Storage, key: str, data: bytes, stream: io.BytesIO) -> None:
    (count,) = struct.unpack("<q", stream.read(8))
    start = stream.seek(0, io.SEEK_CUR)
    left = len(data) - start
    if count != storage.count or left < storage.nbytes:
        raise ValueError(_wrong_size(key, storage, min(left, count * storage.dtype.itemsize)))
    storage.data = memoryview(data)[start : start + storage.nbytes]
    stream.seek(storage.nbytes, io.SEEK_CUR)


def _check_same_storage(storage: Storage, dtype: np.dtype, key: str, count: int) -> Storage:
    if (storage.dtype, storage.count) != (dtype, count):
        raise RefusedError(f"storage {key!r} is used with two dtypes or sizes.")
    return storage


def _wrong_size(key: str, storage: Storage, size: int) -> str:
    wanted = f"{storage.count} x {storage.dtype} = {storage.nbytes} bytes"
    return f"storage {key!r} must have {wanted}, but there are {size}"


def _contents(content: Any) -> Contents:
    tensors: dict[str, np.ndarray] = {}
    dropped: dict[str, str] = {}
    if not isinstance(content, dict):
        raise RefusedError(f"it must hold tensors by name, got a {type(content).__name__}.")
    opened: set[int] = set()
    while id(content) not in opened:  # a wrapper in a wrapper: {"model": {"state_dict": …}}
        opened.add(id(content))
        wrapper = next((w for w in _WRAPPERS if _has_tensors(content.get(w))), None)
        if wrapper is not None:
            beside = f"beside {wrapper!r}, which was read"
            dropped |= {str(k): beside for k in content if k != wrapper and isinstance(k, str)}
            content = content[wrapper]
    _flatten("", content, tensors, dropped, set())
    if not tensors:
        raise RefusedError(f"it must hold tensors by name, got {', '.join(dropped) or 'nothing'}.")
    return Contents(tensors, dropped)


def _has_tensors(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(v, (Tensor, dict)) for v in value.values())


def _flatten(
    prefix: str, content: dict, tensors: dict[str, np.ndarray], dropped: dict[str, str], seen: set
) -> None:
    seen.add(id(content))
    for key, value in content.items():
        name = f"{prefix}{key if isinstance(key, (str, int)) else type(key).__name__}"
        if len(name) > _LONGEST:  # of long names within long names a few bytes make gigabytes
            raise RefusedError(f"a name must have at most {_LONGEST} letters, got {name[:40]!r}….")
        if isinstance(value, Tensor) and name not in tensors:
            tensors[name] = value.numpy()
        elif isinstance(value, dict) and id(value) not in seen:  # every dictionary once: no loops
            _flatten(f"{name}.", value, tensors, dropped, seen)
        else:
            dropped[name] = f"a {type(value).__name__}, no tensor"
