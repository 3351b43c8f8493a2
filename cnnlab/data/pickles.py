"""Reads the pickles of the CIFAR data sets without running any function that a pickle names.

A pickle can call any function that it names. These files need four names, to rebuild an array of
bytes; here each of them is a stand-in that checks its arguments, and every other name is
refused. Files written by Python 2 (`numpy.core.multiarray`) and Python 3 (`numpy._core.multiarray`,
`_codecs.encode`) are both read.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np

from cnnlab.spelling import one_line
from cnnlab.unpickling import CheckedUnpickler, RefusedError, StandIn, check_opcodes


def load(data: bytes, file: str) -> Any:
    """The object in the pickle ``data``: dicts, lists, numbers, text and uint8 arrays.

    Byte strings of Python 2 stay bytes. Arrays are read-only.

    Args:
      data: the contents of the file.
      file: its name, for errors.

    Raises:
      ValueError: if the pickle names a function that such arrays do not need (it is not run), or
        is damaged; the message has the file and the name.
    """
    try:
        check_opcodes(io.BytesIO(data))
        return _plain(_Unpickler(data, encoding="bytes").load())
    except RefusedError as error:
        raise ValueError(f"{file}: {error}") from None
    except Exception as error:  # a damaged pickle can fail in any of its operations
        raise ValueError(
            f"{file} is truncated, damaged or no pickle of a CIFAR batch: {one_line(error, 300)}. "
            "Fetch the file again from its publisher."
        ) from error


class _Dtype:
    __slots__ = ("code",)

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code.decode("ascii", "replace") if isinstance(code, bytes) else code
        if self.code not in ("u1", "uint8"):
            raise RefusedError(f"arrays must be of bytes (u1), got {self.code!r}.")

    def __setstate__(self, state: Any) -> None:
        """Ignores the byte order and the like, which bytes do not have."""


class _Array:
    __slots__ = ("value",)

    def __init__(self, *_: Any) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise RefusedError("an array in the pickle does not consist of bytes.")
        if any(not isinstance(n, int) or n < 0 for n in shape) or math.prod(shape) != len(data):
            raise RefusedError(f"an array of shape {shape} cannot hold {len(data)} bytes.")
        order: Any = "F" if fortran else "C"
        self.value = np.frombuffer(data, np.uint8).reshape(shape, order=order)


_PERMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): StandIn(_Array),
    ("numpy._core.multiarray", "_reconstruct"): StandIn(_Array),
    ("numpy", "ndarray"): StandIn(_Array),
    ("numpy", "dtype"): StandIn(_Dtype),
}


class _Unpickler(CheckedUnpickler):
    def __init__(self, data: bytes, *, encoding: str) -> None:
        super().__init__(data, encoding=encoding)
        self._left = 2 * len(data)  # bytes of text that may be encoded; each is written once

    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return StandIn(self._encode)
        if (module, name) not in _PERMITTED:
            raise RefusedError(
                f"the pickle asks for {module}.{name}, which a CIFAR batch has no need of; it was "
                "not run. Do not trust this file: fetch it from its publisher, or use the binary "
                "version."
            )
        return _PERMITTED[module, name]

    def _encode(self, text: Any, encoding: Any = "utf-8") -> bytes:
        # Python 3 writes bytes so for the protocols without them; pickle uses no other codec.
        if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
            raise RefusedError(f"the pickle encodes text as {encoding!r}; only latin1 is needed.")
        self._left -= len(text)
        if self._left < 0:
            raise RefusedError("the pickle encodes the same text many times.")
        return text.encode("latin1")


def _plain(value: Any) -> Any:
    """The array instead of its stand-in, also as a value of a dictionary: nowhere deeper."""
    if isinstance(value, dict):
        return {key: _plain_array(item) for key, item in value.items()}
    return _plain_array(value)


def _plain_array(value: Any) -> Any:
    if not isinstance(value, _Array):
        return value
    if value.value is None:
        raise ValueError("an array without contents")
    return value.value
