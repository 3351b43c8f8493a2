"""How much memory one file may ask for: checked before anything is allocated.

A packed file of a few bytes can unpack to gigabytes, and a header can name any size. What is larger
than these limits is refused with the name of the file. Where you trust it, raise them::

    from cnnlab import limits
    limits.unpacked_bytes = 2**34

    import PIL.Image
    PIL.Image.MAX_IMAGE_PIXELS = 400_000_000  # Pillow's own limit is the one for images

The command line does the same from the environment: ``CNNLAB_UNPACKED_BYTES=17179869184``,
``CNNLAB_ARRAYS=100000``, ``CNNLAB_IMAGE_PIXELS=400000000``.
"""

import os
import pathlib

unpacked_bytes = 2**30
"""The bytes that a file may unpack to; ten times its own are allowed whatever this is."""

arrays = 10_000
"""The arrays that a file of weights or an .npz may hold."""

_RATIO = 10  # images and weights that are no bomb are seldom packed more tightly


class LimitError(ValueError):
    """A file asks for more than is allowed."""


def allowed_bytes(path: str | os.PathLike[str], own: int | None = None) -> int:
    """The bytes that the file at ``path`` may unpack to.

    Args:
      path: the file.
      own: its bytes, where they are in memory and ``path`` is only a name.
    """
    return max(unpacked_bytes, _RATIO * _own_bytes(path, own))


def _own_bytes(path: str | os.PathLike[str], own: int | None) -> int:
    return pathlib.Path(path).stat().st_size if own is None else own


def check_unpacked(path: str | os.PathLike[str], size: int, own: int | None = None) -> None:
    """Checks what a file asks for before it is read.

    Args:
      path: the file.
      size: the bytes in memory that it asks for.
      own: as of ``allowed_bytes``.

    Raises:
      LimitError: if that is more than ``allowed_bytes``.
    """
    if size > allowed_bytes(path, own):
        raise LimitError(too_large(path, size, own))


def too_large(path: str | os.PathLike[str], size: int | None = None, own: int | None = None) -> str:
    """The message for a file that unpacks to ``size`` bytes, or to more than are allowed."""
    allowed, own = allowed_bytes(path, own), _own_bytes(path, own)
    asked = f"would unpack to {size} bytes" if size else "unpacks to too many bytes"
    return (
        f"{path} {asked}; {allowed} are allowed (it has {own}). If you trust it, raise "
        "cnnlab.limits.unpacked_bytes (CNNLAB_UNPACKED_BYTES)."
    )


def check_arrays(path: str | os.PathLike[str], count: int) -> None:
    """Checks the number of arrays in a file before they are read.

    Raises:
      LimitError: if there are more than ``arrays``.
    """
    if count > arrays:
        raise LimitError(
            f"{path} must hold at most {arrays} arrays, got {count}. If you trust it, raise "
            "cnnlab.limits.arrays (CNNLAB_ARRAYS)."
        )
