"""Image files: opened as one of a few formats, checked for their size, decoded to RGB.

As in torchvision and Keras, an orientation that a camera noted in the file (EXIF) is not applied
(Pillow itself applies that of a TIFF). What is transparent in an image file is shown on white, as a
browser shows it: often there is no drawing in the colours under the transparency.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

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

_STRIP = 256
"""Rows that are put on white at a time."""

_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_TRANSPARENT_MODES = ("RGBA", "LA", "PA", "RGBa")
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def read_image(path: str | Path, size: int | tuple[int, int]) -> np.ndarray:
    """The image in a file: uint8 [H, W, 3], as in a data set of a folder.

    An image of that size is not changed. For a square this is torchvision's ``Resize(side)`` and
    ``CenterCrop(side)`` of the same Pillow, to the last bit.

    Args:
      path: of a file of 8 bits a channel, in one of ``FORMATS``; grey becomes RGB, and what is
        transparent is shown on white.
      size: a side or (H, W): it is resized so that it just covers this (bilinear, with
        antialiasing), then cropped to it at the centre.

    Raises:
      ValueError: if the file cannot be decoded, or has more pixels than
        ``PIL.Image.MAX_IMAGE_PIXELS``; it is named.
    """
    return read_rgb(path, size)[0]


def read_rgb(path: str | Path, size: int | tuple[int, int]) -> tuple[np.ndarray, bool]:
    """The image as of ``read_image``, and whether some of it is transparent."""
    pair = check_size(size)
    with open_image(path) as image:
        _load(image, path)
        rgb, transparent = _to_rgb(image)
        return np.asarray(_cover_and_crop(rgb, pair, path)), transparent


def decode_image(data: bytes, name: str, channels: int | None = None) -> np.ndarray:
    """The image in ``data``: uint8 [H, W, C].

    Args:
      data: the contents of a file in one of ``FORMATS``, of 8 bits a channel.
      name: where it is from, for errors.
      channels: C, 1 to 4; None leaves it as it is. Where that is one channel or three, transparency
        is dropped and the colours under it stay, as TensorFlow decodes its records.

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
    if not isinstance(file, io.BytesIO):
        check_file(file)
    try:
        image = PIL.Image.open(file, formats=FORMATS)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ValueError(_too_many_pixels(what, str(error))) from error
    except PIL.UnidentifiedImageError as error:
        reason = f"it is in none of the formats {', '.join(FORMATS)}"
        raise ValueError(_unreadable(what, reason)) from error
    except Exception as error:  # a damaged header can raise anything
        raise ValueError(_unreadable(what, one_line(error, 300))) from error
    try:
        _check_pixels(image.width, image.height, what)
    except ValueError:
        image.close()
        raise
    return image


def check_file(path: str | Path) -> None:
    """Checks that there is a file; a pipe, too, is none: to open it would wait.

    Raises:
      ValueError: if there is none; it is named.
    """
    if not os.path.isfile(path):
        raise ValueError(_unreadable(path, "it is no file, or a link to none"))


def _load(image: PIL.Image.Image, name: str | Path) -> None:
    deep = _is_cut_to_8_bits(image)
    try:
        image.load()
    except Exception as error:  # a decoder can raise anything on a damaged file
        raise ValueError(_unreadable(name, one_line(error, 300))) from error
    tags: Any = getattr(image, "tag_v2", {})
    if image.format == "TIFF" and int(np.min(tags.get(339, 1))) == 2:  # SampleFormat
        raise ValueError(
            f"{printable(name)}: images must have unsigned values, 0 to 255, got signed ones. "
            "Convert the file."
        )
    if deep or image.mode in _DEEP_MODES:
        got = f"16 bits of mode {image.mode!r}" if deep else f"mode {image.mode!r}"
        raise ValueError(
            f"{printable(name)}: images must have 8 bits a channel, got {got}. Convert the file to "
            "8 bits: scale its values to 0..255."
        )


def _is_cut_to_8_bits(image: PIL.Image.Image) -> bool:
    """Whether the file has more bits a channel than Pillow will give of it.

    Of 16-bit colour, and of grey with transparency, Pillow decodes the high byte: of images of 12
    bits in 16 that leaves 16 levels. Must be called before the image is loaded.
    """
    tiles: Any = getattr(image, "tile", None)  # of an image that comes from a file
    if image.mode in _DEEP_MODES or not tiles:
        return False
    decoder, _, _, options = tiles[0]
    if image.format == "PPM":  # (raw mode, the highest value)
        return isinstance(options, tuple) and decoder.startswith("ppm") and options[-1] > 255
    if image.format == "TIFF":
        tags: Any = getattr(image, "tag_v2", {})
        return int(np.max(tags.get(258, 1))) > 8  # BitsPerSample
    mode = options if isinstance(options, str) else next(iter(options or ()), "")
    return image.format == "PNG" and ";16" in str(mode)


def _to_rgb(image: PIL.Image.Image) -> tuple[PIL.Image.Image, bool]:
    """The image in RGB, and whether some of it is transparent, which is shown on white."""
    import PIL.Image  # noqa: PLC0415 Pillow is needed for image files only

    if "transparency" in image.info or image.mode in _TRANSPARENT_MODES:
        rgb, transparent = PIL.Image.new("RGB", image.size), False
        for top in range(0, image.height, _STRIP):  # a copy of the whole would take much memory
            box = (0, top, image.width, min(top + _STRIP, image.height))
            strip = image.crop(box).convert("RGBA")
            if cast(tuple[int, int], strip.getchannel("A").getextrema())[0] < 255:
                transparent = True
                white = PIL.Image.new("RGBA", strip.size, "white")
                strip = PIL.Image.alpha_composite(white, strip)
            rgb.paste(strip.convert("RGB"), box)
        return rgb, transparent
    if image.mode == "RGB":  # a copy would take time and memory
        return image, False
    return image.convert("RGB"), False


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
