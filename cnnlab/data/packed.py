"""Opens files that may be gzipped, as those of MNIST and CIFAR are."""

from __future__ import annotations

import contextlib
import gzip
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_LONGEST = 2**16  # bytes; Python reads the name in a header byte by byte, and as long as it is


@contextlib.contextmanager
def open_decompressed(path: Path) -> Iterator[gzip.GzipFile | BinaryIO]:
    """The file, unpacked as it is read where it is gzipped, whatever its name says.

    Raises:
      gzip.BadGzipFile: while reading, such as for a name in its header that is too long.
    """
    with _Source(io.FileIO(path)) as source:
        compressed = source.read(2) == b"\x1f\x8b"
        source.seek(0)
        if not compressed:
            yield source
            return
        with gzip.GzipFile(fileobj=source) as file:
            yield file


class _Source(io.BufferedReader):
    _single = 0  # bytes read one by one, since others were

    def read(self, size: int | None = -1, /) -> bytes:
        self._single = self._single + 1 if size == 1 else 0
        if self._single > _LONGEST:
            raise gzip.BadGzipFile(f"a header in it is longer than {_LONGEST} bytes")
        return super().read(size)
