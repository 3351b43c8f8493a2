"""Image files: opened as one of a few formats, checked for their size, decoded to RGB.

As in torchvision and Keras, an orientation that a camera noted in the file (EXIF) is not applied
(Pillow itself applies that of a TIFF).
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.spelling import one_line, printable

if TYPE_CHECKING:
    import PIL.Image

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What an image is opened as, whatever its name says. Pillow has more: for EPS it starts a program
that runs the file."""

EXTENSIONS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
"""The names of image files end so, in either case."""

_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def read_image(path: str | Path, size: int | tuple[int, int]) -> np.ndarray:
    """The image in a file: uint8 [H, W, 3], as in a data set of a folder.

    An image of that size is not changed. For a square this is torchvision's ``Resize(side)`` and
    ``CenterCrop(side)`` of the same Pillow, to the last bit.

    Args:
      path: of a file of 8 bits a channel, in one of ``FORMATS``; grey becomes RGB.
      size: a side or (H, W): it is resized so that it just covers this (bilinear, with
        antialiasing), then cropped to it at the centre.

    Raises:
      ValueError: if the file cannot be decoded, or has more pixels than
        ``PIL.Image.MAX_IMAGE_PIXELS``; it is named.
    """
    pair = check_size(size)
    with open_image(path) as image:
        _load(image, path)
        return np.asarray(_cover_and_crop(_to_rgb(image), pair, path))


def decode_image(data: bytes, name: str, channels: int | None = None) -> np.ndarray:
    """The image in ``data``: uint8 [H, W, C].

    Args:
      data: the contents of a file in one of ``FORMATS``, of 8 bits a channel.
      name: where it is from, for errors.
      channels: C, 1 to 4; None leaves it as it is.

    Raises:
      ValueError: as of ``read_image``.
    """
    with open_image(io.BytesIO(data), name) as image:
        _load(image, name)
        mode = _MODES[channels] if channels else {"P": "RGB", "1": "L"}.get(image.mode, image.mode)
        pixels = np.asarray(image if image.mode == mode else image.convert(mode), np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def header_size(path: Path) -> tuple[int, int]:
    """(H, W) of the image in a file, from its header.

    Raises:
      ValueError: as of ``read_image``.
    """
    with open_image(path) as image:
        return image.height, image.width


def check_size(image_size: int | tuple[int, int]) -> tuple[int, int]:
    """(H, W), of a side or (H, W).

    Raises:
      ValueError: if it is neither, each a whole number of at least 1.
    """
    sides: Any = (image_size, image_size) if np.ndim(image_size) == 0 else image_size
    pair = list(sides) if isinstance(sides, (list, tuple, np.ndarray)) else []
    whole = [isinstance(n, (int, np.integer)) and type(n) is not bool and n > 0 for n in pair]
    if len(pair) != 2 or not all(whole):
        raise ValueError(
            f"image_size must be a side or (H, W), each a whole number of at least 1, got "
            f"{image_size!r}."
        )
    return int(pair[0]), int(pair[1])


def open_image(file: str | Path | io.BytesIO, name: str | Path | None = None) -> PIL.Image.Image:
    """An image of one of ``FORMATS``, of which the header was read.

    Args:
      file: where it is.
      name: what to call it in errors; ``file`` by default.

    Raises:
      ValueError: if it cannot be opened as one of these, or has more pixels than
        ``PIL.Image.MAX_IMAGE_PIXELS``; it is named.
    """
    import PIL.Image  # noqa: PLC0415 Pillow is needed for image files only

    what = str(file) if name is None else name
    if not isinstance(file, io.BytesIO) and not os.path.isfile(file):  # a pipe would wait
        raise ValueError(_unreadable(what, "it is no file, or a link to none"))
    try:
        image = PIL.Image.open(file, formats=FORMATS)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ValueError(_too_many_pixels(what, str(error))) from error
    except PIL.UnidentifiedImageError as error:
        reason = f"it is in none of the formats {', '.join(FORMATS)}"
        raise ValueError(_unreadable(what, reason)) from error
    except Exception as error:  # a damaged header can raise anything
        raise ValueError(_unreadable(what, one_line(error))) from error
    try:
        _check_pixels(image.width, image.height, what)
    except ValueError:
        image.close()
        raise
    return image


def _load(image: PIL.Image.Image, name: str | Path) -> None:
    try:
        image.load()
    except Exception as error:  # a decoder can raise anything on a damaged file
        raise ValueError(_unreadable(name, one_line(error))) from error
    if image.mode in _DEEP_MODES:
        raise ValueError(
            f"{printable(name)}: images must have 8 bits a channel, got mode {image.mode!r}. "
            "Convert the file to 8 bits."
        )


def _to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode == "RGB":  # a copy of a large one takes time and memory
        return image
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _cover_and_crop(
    image: PIL.Image.Image, size: tuple[int, int], name: str | Path
) -> PIL.Image.Image:
    import PIL.Image  # noqa: PLC0415 Pillow is needed for image files only

    height, width = size
    if (image.height, image.width) == size:
        return image
    covering = covering_size((image.height, image.width), size)
    _check_pixels(covering[1], covering[0], f"{printable(name)}, resized so that it covers {size},")
    image = image.resize((covering[1], covering[0]), PIL.Image.Resampling.BILINEAR)
    # As torchvision's CenterCrop: half a pixel is rounded to an even offset.
    top, left = round((covering[0] - height) / 2), round((covering[1] - width) / 2)
    return image.crop((left, top, left + width, top + height))


def covering_size(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of an image of ``size`` when it is resized so that it just covers ``target``.

    For a square target it is that of torchvision's ``Resize(side)``, which rounds down.
    """
    if target[0] == target[1]:
        short = min(size)
        return int(target[0] * size[0] / short), int(target[0] * size[1] / short)
    scale = max(target[0] / size[0], target[1] / size[1])
    return max(target[0], round(size[0] * scale)), max(target[1], round(size[1] * scale))


def _check_pixels(width: int, height: int, name: str | Path) -> None:
    import PIL.Image  # noqa: PLC0415 Pillow is needed for image files only

    limit = PIL.Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise ValueError(_too_many_pixels(name, f"it has {height} x {width}, limit {limit}"))


def _too_many_pixels(name: str | Path, reason: str) -> str:
    return (
        f"{printable(name)} has too many pixels: {reason}. Make it smaller or, if you trust it, "
        "raise PIL.Image.MAX_IMAGE_PIXELS (CNNLAB_IMAGE_PIXELS)."
    )


def _unreadable(name: str | Path, reason: str) -> str:
    return (
        f"{printable(name)} cannot be read as an image: {reason}. Repair or remove the file; in an "
        "image folder, on_unreadable='skip' leaves such files out."
    )
