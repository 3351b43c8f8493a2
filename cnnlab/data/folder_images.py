"""Image files as a lazy sequence, each known by its name and its contents."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from cnnlab.data.dataset import LazyImages
from cnnlab.data.images import check_file, read_rgb
from cnnlab.spelling import printable

_SAMPLE = 2**15  # bytes of a file that are read from its start, its middle and its end


class FolderImages(LazyImages):
    """Image files, decoded on access: uint8 [H, W, 3].

    What is transparent is shown on white; ``transparent`` has the indices of the images read so far
    that are.

    Args:
      root: the folder that the files are in.
      files: their N paths, relative to it.
      size: (H, W) of every image: it is resized so that it just covers this, then cropped to it at
        the centre. An image of that size is not changed.
    """

    def __init__(self, root: Path, files: Sequence[str], size: tuple[int, int]) -> None:
        self._root = root
        self._files = tuple(files)
        self.shape = (len(files), *size, 3)
        self.transparent: set[int] = set()
        self._known: dict[int, tuple[tuple[int, int], int]] = {}

    def read(self, index: int) -> np.ndarray:
        """Image number ``index``: uint8 [H, W, 3].

        Raises:
          ValueError: if the file cannot be decoded; it is named.
        """
        height, width = self.shape[1:3]
        pixels, transparent = read_rgb(self._root / self._files[index], (height, width))
        if transparent:
            self.transparent.add(index)
        return pixels

    def identity(self, indices: np.ndarray) -> Iterable[str]:
        """The size of the decoded images; each file's path, bytes and checksum of a sample."""
        yield repr(self.shape[1:])
        for i in indices:
            size, checksum = self.content(int(i))
            yield f"{printable(self._files[i])} {size} {checksum:08x}"

    def path(self, index: int) -> Path:
        """Where the file of an image is."""
        return self._root / self._files[index]

    def digest(self, index: int) -> int:
        """64 bits of BLAKE2b of an image's whole file."""
        with self.path(index).open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8))
        return int.from_bytes(digest.digest(), "little")

    def content(self, index: int) -> tuple[int, int]:
        """The bytes of an image's file and the CRC-32 of a sample of them, whatever its name.

        The sample is the whole of a file of up to 96 KiB, and 32 KiB each of the start, the middle
        and the end of a larger one. It is read once, as long as the file is not written again.

        Raises:
          ValueError: if there is no such file; it is named.
        """
        path = self.path(index)
        check_file(path)
        status = os.stat(path)
        state = status.st_size, status.st_mtime_ns
        if self._known.get(index, (None, 0))[0] != state:
            self._known[index] = state, _sample_checksum(path, status.st_size)
        return status.st_size, self._known[index][1]


def _sample_checksum(path: Path, size: int) -> int:
    with path.open("rb") as file:
        if size <= 3 * _SAMPLE:
            return zlib.crc32(file.read())
        checksum = 0
        for start in (0, (size - _SAMPLE) // 2, size - _SAMPLE):
            file.seek(start)
            checksum = zlib.crc32(file.read(_SAMPLE), checksum)
        return checksum
