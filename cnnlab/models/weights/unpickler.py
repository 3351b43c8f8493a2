"""Unpickles the tensors of a PyTorch checkpoint and runs nothing that the pickle names.

A pickle can call any function that it names. Tensors need few names; each is here a stand-in that
checks what it is given and cannot be altered, and every other name is refused. The bytes of the
tensors lie beside the pickle or after it; who reads the container hands them over as ``Storage``.

A pickle can also name one object many times, so that a few bytes mean much work. Beside what
``CheckedUnpickler`` checks, shapes are short, and no list is read twice: the work grows with the
bytes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any, NoReturn

import ml_dtypes
import numpy as np

from cnnlab import limits
from cnnlab.unpickling import (
    CheckedUnpickler,
    RefusedError,
    StandIn,
    check_key,
    check_opcodes,
)

_DTYPES = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
    "complex64": np.complex64,
    "complex128": np.complex128,
    "int64": np.int64,
    "int32": np.int32,
    "int16": np.int16,
    "int8": np.int8,
    "uint64": np.uint64,
    "uint32": np.uint32,
    "uint16": np.uint16,
    "uint8": np.uint8,
    "bool": np.bool_,
}

_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


_DIMENSIONS = 64
"""The most axes that an array can have (NumPy's limit)."""

_WHOLE = 2**63
"""No offset or size comes up to this."""


class Storage:
    """A row of ``count`` numbers of one dtype; ``data`` may come after the pickle was read."""

    __slots__ = ("count", "data", "dtype")

    def __init__(self, dtype: np.dtype, count: int, data: Any = None) -> None:
        self.dtype = dtype
        self.count = count
        self.data = data

    def __setstate__(self, state: Any) -> NoReturn:
        raise RefusedError("the pickle sets the state of a storage.")

    @property
    def nbytes(self) -> int:
        """The number of bytes that ``data`` must have."""
        return self.count * self.dtype.itemsize


class Tensor:
    """A view of a storage: offset, shape and strides count elements of ``dtype``, as in PyTorch."""

    __slots__ = ("_dtype", "_offset", "_storage", "_strides", "shape")

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any, dtype: Any) -> None:
        axes = [len(n) if isinstance(n, (tuple, list)) else _WHOLE for n in (shape, strides)]
        if axes[0] != axes[1] or axes[0] > _DIMENSIONS:
            raise RefusedError(f"a tensor must have as many strides as axes, <= {_DIMENSIONS}.")
        if not isinstance(storage, Storage) or not all(map(_is_count, [offset, *shape, *strides])):
            raise RefusedError("a tensor must be a view of a storage by whole numbers >= 0.")
        self.shape = tuple(shape)
        self._dtype = np.dtype(dtype or storage.dtype)
        count = storage.nbytes // self._dtype.itemsize
        size = math.prod(self.shape)
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        # A step of 0 could make a few bytes look like terabytes: no more elements than are stored.
        if size > count or (size and last >= count):
            raise RefusedError(
                f"a tensor of shape {self.shape}, offset {offset} and strides {tuple(strides)} "
                f"does not lie in its storage of {count} elements."
            )
        self._storage, self._offset, self._strides = storage, offset, strides

    def __setstate__(self, state: Any) -> None:
        """Ignores what PyTorch saves here: whether it requires a gradient, and hooks."""

    def numpy(self) -> np.ndarray:
        """The values, read-only, without a copy."""
        if not math.prod(self.shape):
            return np.zeros(self.shape, self._dtype)
        size = self._dtype.itemsize
        row = np.frombuffer(self._storage.data, np.uint8)[: self._storage.nbytes]
        row = row[: len(row) // size * size].view(self._dtype)[self._offset :]
        strides = [step * size for step in self._strides]
        return np.lib.stride_tricks.as_strided(row, self.shape, strides, writeable=False)


def _is_count(number: Any) -> bool:
    return type(number) is int and 0 <= number < _WHOLE


class _Kind:
    """A dtype, or a class of storages: something to name, not to call."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)

    def __setstate__(self, state: Any) -> NoReturn:
        raise RefusedError("the pickle sets the state of a class; it was not run.")


class _Dict(dict):
    """An ordered dictionary; the metadata that PyTorch hangs on it is dropped."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """See the class."""


class _SealedType(type):
    """A class whose attributes a pickle cannot set."""

    def __setattr__(cls, name: str, value: Any) -> NoReturn:
        raise RefusedError("the pickle sets an attribute of a class; it was not run.")


class _Parameter(metaclass=_SealedType):
    """The wrapper of every weight in early versions of PyTorch; a class, as the opcode demands."""

    __slots__ = ()

    def __new__(cls, tensor: Any, *_: Any) -> Any:
        if not isinstance(tensor, Tensor):
            raise RefusedError("a parameter must hold a tensor.")
        return tensor


def _rebuild(
    storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any = None, _hooks: Any = None,
    metadata: Any = None,
) -> Tensor:  # fmt: skip
    if metadata:
        raise RefusedError("a tensor is stored as a conjugate or negative; save a plain copy.")
    return Tensor(storage, offset, shape, strides, None)


def _rebuild_of_dtype(
    storage: Any, offset: Any, shape: Any, strides: Any, _grad: Any, _hooks: Any, dtype: Any,
    metadata: Any = None,
) -> Tensor:  # fmt: skip
    if metadata or not isinstance(dtype, _Kind):
        raise RefusedError("a tensor must have a dtype, and be neither conjugate nor negative.")
    return Tensor(storage, offset, shape, strides, dtype.dtype)


def _ordered_dict(items: Any = None) -> _Dict:
    """Python 2 wrote the items as a list of pairs, later versions set them one by one."""
    made = _Dict()
    if items is None:
        return made
    if type(items) is not list or any(type(p) not in (list, tuple) or len(p) != 2 for p in items):
        raise RefusedError("an ordered dictionary must be made of pairs.")
    for key, value in items:
        check_key(key)
        made[key] = value
    items.clear()  # it was for this one; a pickle that names it again gets no second copy
    return made


def _size(sizes: Any = ()) -> tuple:
    if type(sizes) not in (list, tuple) or len(sizes) > _DIMENSIONS:
        raise RefusedError(f"a size must have at most {_DIMENSIONS} axes.")
    return tuple(sizes)


_PERMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): StandIn(_ordered_dict),
    ("torch._utils", "_rebuild_tensor"): StandIn(_rebuild),
    ("torch._utils", "_rebuild_tensor_v2"): StandIn(_rebuild),
    ("torch._utils", "_rebuild_tensor_v3"): StandIn(_rebuild_of_dtype),
    ("torch._utils", "_rebuild_parameter"): StandIn(lambda tensor, *_: _Parameter(tensor)),
    ("torch.nn.parameter", "Parameter"): _Parameter,
    ("torch", "device"): StandIn(lambda *_: None),
    ("torch", "Size"): StandIn(_size),
    ("torch.storage", "UntypedStorage"): _Kind(np.uint8),
    **{("torch", name): _Kind(dtype) for name, dtype in _DTYPES.items()},
    **{("torch", name): _Kind(_DTYPES[dtype]) for name, dtype in _STORAGES.items()},
}


class _Unpickler(CheckedUnpickler):
    def __init__(self, data: memoryview, storage: Callable[..., Storage] | None) -> None:
        super().__init__(data, encoding="latin1")
        self._storage = storage
        self._storages = 0

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) not in _PERMITTED:
            raise RefusedError(
                f"the pickle asks for {module}.{name}, which tensors have no need of; it was not "
                "run. If you made the file yourself, save the tensors alone: "
                "torch.save(model.state_dict(), path). If not, do not trust it."
            )
        return _PERMITTED[module, name]

    def persistent_load(self, pid: Any, /) -> Storage:
        kind = pid[1] if isinstance(pid, tuple) and 5 <= len(pid) <= 6 else None
        if not isinstance(kind, _Kind) or pid[0] != "storage" or self._storage is None:
            raise RefusedError("the pickle refers to something outside that is no storage.")
        _, _, key, _, count, *view = pid
        self._storages += 1
        if self._storages > limits.arrays:
            raise RefusedError(
                f"it must hold at most {limits.arrays} tensors. If you trust it, raise "
                "cnnlab.limits.arrays (CNNLAB_ARRAYS)."
            )
        if not isinstance(key, str) or not _is_count(count):
            raise RefusedError("a storage must have a key and a count of elements >= 0.")
        return self._storage(kind.dtype, key, count, *view)


def load(stream: io.BytesIO, storage: Callable[..., Storage] | None = None) -> Any:
    """The object in the next pickle of ``stream``, which is left after it.

    Args:
      stream: the file, or what is left of it.
      storage: called as ``storage(dtype, key, count, *view)`` for every storage that a tensor
        refers to; None where the pickle may hold none.

    Returns:
      Numbers, text, lists, tuples, dictionaries, and ``Tensor`` for tensors.

    Raises:
      RefusedError: if the pickle asks for more than tensors need; nothing of it is run.
      Exception: of any other kind if the pickle is damaged.
    """
    start = stream.tell()
    check_opcodes(stream)
    return _Unpickler(stream.getbuffer()[start : stream.tell()], storage).load()
