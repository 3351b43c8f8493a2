"""Hostile image files."""

import functools
import io
import os
import pathlib
import struct
import zlib
from collections.abc import Iterator

from benchmarks.hostile.cases import CANARY, Case, written, zeros

_EPS = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n%%EndComments\n"
    b"(" + CANARY.encode() + b") (w) file closefile showpage\n"
)


def _png(
    width: int,
    height: int,
    kind: int,
    bits: int = 8,
    *,
    chunks: bytes = b"",
    rows: int | None = None,
) -> bytes:
    """A PNG of zeros, packed about a thousand to one; ``rows`` are there, all by default."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    size = (1 + width * channels * bits // 8) * (height if rows is None else rows)
    data = zeros(size)
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    parts = _chunk(b"IHDR", header) + chunks + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _saved(form: str, mode: str = "RGB", size: tuple[int, int] = (64, 48)) -> bytes:
    import PIL.Image

    file = io.BytesIO()
    PIL.Image.effect_noise(size, 50).convert(mode).save(file, form)
    return file.getvalue()


def _tiff(width: int, height: int, *entries: tuple[int, int, int, int], next_: int = 0) -> bytes:
    """A TIFF of a header and one directory."""
    fields = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (262, 3, 1, 1), *entries]
    directory = b"".join(struct.pack("<HHII", *field) for field in sorted(fields))
    count = struct.pack("<H", len(fields))
    return struct.pack("<2sHI", b"II", 42, 8) + count + directory + struct.pack("<I", next_)


def _bmp(width: int, height: int, packing: int = 0, data: bytes = b"\0" * 64) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, packing, 0, 0, 0, 0, 0)
    return struct.pack("<2sIHHI", b"BM", 54 + len(data), 0, 0, 54) + header + data


def _gif(width: int, height: int, data: bytes = b"\x02\x02\x44\x01\x00") -> bytes:
    screen = struct.pack("<6sHHBBB", b"GIF89a", width, height, 0x80, 0, 0) + bytes(6)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + data + b";"


def _jpeg(width: int, height: int) -> bytes:
    """A small JPEG whose header says another size."""
    data = _saved("JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def _webp(width: int, height: int) -> bytes:
    body = b"VP8X" + struct.pack("<IB3x", 10, 0)
    body += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _text(kind: bytes, size: int) -> bytes:
    packed = zeros(size)
    head = {b"zTXt": b"x\0\0", b"iCCP": b"x\0\0", b"iTXt": b"x\0\1\0\0\0"}[kind]
    return _chunk(kind, head + packed)


def cases() -> Iterator[Case]:
    """Image files, read as ``data.read_image`` and ``data.load("folder")`` read them."""
    others = {
        "EPS": _EPS,
        "EPS of DOS": b"\xc5\xd0\xd3\xc6"
        + struct.pack("<IIIIIIh", 32, len(_EPS), 0, 0, 0, 0, -1)
        + b"\0\0"
        + _EPS,
        "PDF": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n",
        "PSD": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 30000, 30000, 8, 3),
        "ICNS": b"icns" + struct.pack(">I", 2**31 - 1),
        "FLI": struct.pack("<IHHHHHH", 2**31 - 1, 0xAF11, 65535, 65535, 65535, 8, 3) + bytes(112),
        "FITS": b"SIMPLE  =                    T".ljust(80) + b"NAXIS   = 99999".ljust(80),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(64),
        "WMF": b"\xd7\xcd\xc6\x9a" + bytes(60),
        "JPEG 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(64),
        "XPM": b'/* XPM */\nstatic char *x[] = {"99999 99999 1 1",\n',
        "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>x</script></svg>',
        "text": b"#!/bin/sh\ntouch canary\n",
        "nothing": b"",
    }
    for name, data in others.items():
        yield Case(f"{name} called .png", "image", "hostile.png", written(data))
    for suffix in ("jpg", "gif", "tif", "webp", "bmp", "ppm"):
        yield Case(f"EPS called .{suffix}", "image", f"hostile.{suffix}", written(_EPS))
    yield Case("EPS called .png in a folder", "folder", "hostile.png", written(_EPS))

    pngs = {
        "2**31 - 1 pixels wide and high": lambda: _png(2**31 - 1, 2**31 - 1, 0, rows=0),
        "13,000 x 13,000 in RGB, one row there": lambda: _png(13000, 13000, 2, rows=1),
        "13,000 x 13,000 in RGB": lambda: _png(13000, 13000, 2),
        "0 x 0": lambda: _png(0, 0, 0),
        "16 bits": lambda: _png(20, 20, 0, 16),
        "no pixels": lambda: _png(64, 64, 2, rows=0),
        "half of the pixels": lambda: _saved("PNG")[:1500],
        "a wrong checksum": lambda: _saved("PNG")[:-20] + b"\0" * 20,
        "zTXt that unpacks to 1 GB": lambda: _png(8, 8, 0, chunks=_text(b"zTXt", 10**9)),
        "iTXt that unpacks to 1 GB": lambda: _png(8, 8, 0, chunks=_text(b"iTXt", 10**9)),
        "iCCP that unpacks to 1 GB": lambda: _png(8, 8, 0, chunks=_text(b"iCCP", 10**9)),
        "500 texts of 1 MB": lambda: _png(8, 8, 0, chunks=_text(b"zTXt", 10**6) * 500),
        "a chunk of 2 GB": lambda: _saved("PNG")[:33] + struct.pack(">I", 2**31 - 1) + b"tEXtx",
        "a palette without colours": lambda: _png(64, 64, 3),
    }  # fmt: skip
    for name, make in pngs.items():
        harmless = name.startswith(("iCCP", "a palette"))
        yield Case(f"PNG, {name}", "image", "hostile.png", written(make), harmless=harmless)
    opaque = _chunk(b"tRNS", bytes(6))
    for name, kind, chunks in (
        ("grey", 0, b""),
        ("RGBA", 6, b""),
        ("RGB with a transparent colour", 2, opaque),
        ("grey with a transparent colour", 0, _chunk(b"tRNS", bytes(2))),
    ):
        yield Case(
            f"PNG, 9,400 x 9,400 of zeros, {name}",
            "image",
            "hostile.png",
            written(functools.partial(_png, 9400, 9400, kind, chunks=chunks)),
            harmless=True,
        )

    more = {
        "JPEG, header of 65,500 x 65,500": ("jpg", lambda: _jpeg(65500, 65500)),
        "JPEG, header of 9,000 x 9,000": ("jpg", lambda: _jpeg(9000, 9000)),
        "JPEG, cut to half": ("jpg", lambda: _saved("JPEG")[: len(_saved("JPEG")) // 2]),
        "GIF, 65,535 x 65,535": ("gif", lambda: _gif(65535, 65535)),
        "GIF, 9,000 x 9,000 and a code that ends": ("gif", lambda: _gif(9000, 9000)),
        "GIF, without an image": ("gif", lambda: _gif(8, 8)[:19] + b";"),
        "BMP, header of 2**31 - 1": ("bmp", lambda: _bmp(2**31 - 1, 2**31 - 1)),
        "BMP, header of 30,000 x -30,000": ("bmp", lambda: _bmp(30000, -30000)),
        "BMP, 9,000 x 9,000 and no pixels": ("bmp", lambda: _bmp(9000, 9000)),
        "BMP, packed by RLE, which 24 bits are not": ("bmp", lambda: _bmp(9000, 9000, 1)),
        "TIFF, 2**32 - 1 wide": ("tif", lambda: _tiff(2**32 - 1, 2**32 - 1, (273, 4, 1, 8))),
        "TIFF, directories in a circle": ("tif", lambda: _tiff(64, 64, (273, 4, 1, 8), next_=8)),
        "TIFF, a tag of 2**32 - 1 values": ("tif", lambda: _tiff(64, 64, (273, 4, 2**32 - 1, 8))),
        "TIFF, strips of 2**32 - 1": ("tif", lambda: _tiff(64, 64, (278, 4, 1, 2**32 - 1))),
        "TIFF, 16 bits": ("tif", lambda: _saved("TIFF", "I;16")),
        "TIFF, floats": ("tif", lambda: _saved("TIFF", "F")),
        "TIFF, cut to half": ("tif", lambda: _saved("TIFF")[:4000]),
        "WebP, 16,383 x 16,383": ("webp", lambda: _webp(16383, 16383)),
        "WebP, cut to half": ("webp", lambda: _saved("WEBP")[:400]),
        "PPM, header of 99,999,999 x 99,999,999": ("ppm", lambda: b"P6 99999999 99999999 255\n"),
        "PPM, header of 9,000 x 9,000": ("ppm", lambda: b"P6 9000 9000 255\nx"),
        "PPM, 16 bits": ("ppm", lambda: b"P5 4 4 65535\n" + bytes(32)),
        "PPM, a header of 30 MB": ("ppm", lambda: b"P6 " + b"1" * 30_000_000),
        "PPM, text that has no end": ("ppm", lambda: b"P3 9000 9000 255\n" + b"1 " * 10**6),
        "PPM, -1 x -1": ("ppm", lambda: b"P6 -1 -1 255\n" + bytes(9)),
        "PPM, not of this family": ("ppm", lambda: b"Pf 64 64 -1\n" + bytes(64 * 64 * 4)),
    }  # fmt: skip
    for name, (suffix, build) in more.items():
        yield Case(
            name,
            "image",
            f"hostile.{suffix}",
            written(build),
            harmless=name.startswith("JPEG, header of 9,000"),
        )

    yield Case("a pipe that nobody writes to", "image", "hostile.png", os.mkfifo)
    yield Case("a link to itself", "image", "hostile.png", lambda path: path.symlink_to(path))
    yield Case("a folder", "image", "hostile.png", pathlib.Path.mkdir)
    yield Case(
        "a link to /dev/zero", "image", "hostile.png", lambda path: path.symlink_to("/dev/zero")
    )
    yield Case(
        "a huge PNG in a folder",
        "folder",
        "hostile.png",
        written(lambda: _png(13000, 13000, 2, rows=1)),
    )
    yield Case(
        "a 16-bit PNG in a folder", "folder", "hostile.png", written(lambda: _png(9, 9, 0, 16))
    )
    yield Case("an empty PNG in a folder", "folder", "hostile.png", written(b""))
