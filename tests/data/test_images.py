"""Image files: which are opened, how large they may be, and how they are brought to a size."""

import ast
import contextlib
import io
import pathlib
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
from PIL import EpsImagePlugin, Image

import cnnlab
from cnnlab.data import images, load, read_image

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 6\n%%EndComments\nshowpage\n"


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def torchvision_pixels(path, side):
    """Resize(side) and CenterCrop(side), by the formulas of torchvision 0.24.

    transforms.functional._compute_resized_output_size and center_crop; it resizes with Pillow.
    """
    image = Image.open(path).convert("RGB")
    width, height = image.size
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = side, int(side * long / short)
    new_width, new_height = (new_short, new_long) if width <= height else (new_long, new_short)
    image = image.resize((new_width, new_height), Image.Resampling.BILINEAR)
    top = int(round((new_height - side) / 2.0))  # noqa: RUF046 as torchvision has it
    left = int(round((new_width - side) / 2.0))  # noqa: RUF046
    return np.asarray(image.crop((left, top, left + side, top + side)))


@pytest.mark.parametrize("side", [7, 16])
def test_a_square_is_torchvisions_resize_and_centre_crop(tmp_path, side):
    rng = np.random.default_rng(0)
    for i in range(60):
        height, width = rng.integers(side, 60, 2)
        path = tmp_path / f"{i}.png"
        Image.fromarray(picture(height, width, i)).save(path)
        np.testing.assert_array_equal(read_image(path, side), torchvision_pixels(path, side))


def test_the_long_side_is_rounded_down_and_half_a_pixel_to_even():
    # By hand: 224 * 500 / 333 = 336.3, 224 * 375 / 370 = 227.03, 16 * 57 / 33 = 27.6 -> 27.
    assert images.covering_size((333, 500), (224, 224)) == (224, 336)
    assert images.covering_size((375, 370), (224, 224)) == (227, 224)
    assert images.covering_size((57, 33), (16, 16)) == (27, 16)
    # 1 row too many: offset 0.5 -> 0; 3: 1.5 -> 2; 5: 2.5 -> 2.
    for more, top in ((1, 0), (3, 2), (5, 2)):
        rows = np.repeat(np.arange(8 + more, dtype=np.uint8)[:, None, None], 8, 1).repeat(3, 2)
        file = io.BytesIO()
        Image.fromarray(rows).save(file, "PNG")
        cropped = images._cover_and_crop(images.open_image(file, "x"), (8, 8), "x")
        assert np.asarray(cropped)[0, 0, 0] == top


def test_an_oblong_is_covered_and_cropped(tmp_path):
    Image.fromarray(picture(20, 30)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", (10, 20)).shape == (10, 20, 3)
    assert images.covering_size((20, 30), (10, 20)) == (13, 20)


def test_a_size_may_be_a_side_or_a_pair(tmp_path):
    Image.fromarray(picture(20, 30)).save(tmp_path / "a.png")
    square = read_image(tmp_path / "a.png", (8, 8))
    np.testing.assert_array_equal(read_image(str(tmp_path / "a.png"), 8), square)
    with pytest.raises(ValueError, match=r"must be a side or \(H, W\)"):
        read_image(tmp_path / "a.png", 0.5)


@pytest.fixture
def interpreters(monkeypatch):
    """The calls of Ghostscript that Pillow would have made."""
    calls = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **_: calls.append(args))
    return calls


def test_a_postscript_file_called_png_is_not_run(tmp_path, interpreters):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.fromarray(picture(6, 8)).save(tmp_path / name / f"{i}.png")
    hostile = tmp_path / "a" / "1.png"
    hostile.write_bytes(EPS)
    with pytest.raises(ValueError, match=r"a/1\.png cannot be read.*none of the formats JPEG, PNG"):
        load("folder", tmp_path)
    with pytest.raises(ValueError, match="none of the formats"):
        read_image(hostile, 4)
    with pytest.raises(ValueError, match="record 7 cannot be read"):
        images.decode_image(EPS, "record 7")
    assert not interpreters
    with contextlib.suppress(Exception):  # what Pillow alone does with it
        Image.open(hostile).load()
    assert interpreters


def test_images_are_opened_in_one_place_and_by_a_list_of_formats():
    root = pathlib.Path(cnnlab.__file__).parents[1]
    places = []
    for file in [*root.glob("cnnlab/**/*.py"), *root.glob("experiments/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open"):
                assert any(word.arg == "formats" for word in node.keywords), file
                places.append(file.relative_to(root).as_posix())
    assert places == ["cnnlab/data/images.py"]


def empty_png(height, width):
    """A PNG of zeros, packed about a thousand to one."""
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("over", [1.1, 3])  # Pillow warns of the first and refuses the second
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, monkeypatch, over):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 1000)
    path = tmp_path / "a.png"
    path.write_bytes(empty_png(10, round(100 * over)))
    loaded = []
    monkeypatch.setattr(PIL.Image.Image, "load", lambda *_: loaded.append(1))
    with pytest.raises(ValueError, match=r"a\.png has too many pixels.*raise PIL.Image.MAX_IMAGE"):
        read_image(path, 4)
    assert not loaded
    monkeypatch.undo()
    assert read_image(path, 4).shape == (4, 4, 3)


def test_resizing_cannot_make_many_pixels_of_few(tmp_path):
    path = tmp_path / "thin.png"
    path.write_bytes(empty_png(1, 30_000))
    with pytest.raises(ValueError, match=r"thin\.png, resized .* too many pixels"):
        read_image(path, 224)


def png(height, width, bits, colour, rows):
    """The bytes of a PNG, written by hand."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_pillows_own_limit_is_the_one(tmp_path):
    path = tmp_path / "large.png"
    path.write_bytes(png(13000, 13000, 8, 0, bytes(13001)))  # of 1.5 GB in RGB, twice over
    with pytest.raises(ValueError, match=r"large\.png has too many pixels.*13000 x 13000"):
        read_image(path, 4)
    with pytest.raises(ValueError, match="too many pixels"):
        images.header_size(path)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("channels", [1, 3, 4, None])
def test_records_are_decoded_to_the_channels_of_their_feature(mode, channels):
    image = Image.fromarray(picture(6, 8)).convert(mode)
    file = io.BytesIO()
    image.save(file, "TIFF")
    pixels = images.decode_image(file.getvalue(), "record", channels)
    wanted = {1: "L", 3: "RGB", 4: "RGBA"}.get(channels, {"P": "RGB", "1": "L"}.get(mode, mode))
    np.testing.assert_array_equal(
        pixels, np.asarray(image.convert(wanted), np.uint8).reshape(6, 8, -1)
    )


def test_signed_values_are_refused(tmp_path):
    path = tmp_path / "signed.tif"
    Image.fromarray(picture(6, 8)[..., 0]).save(path, tiffinfo={339: 2})
    with pytest.raises(ValueError, match=r"signed\.tif: images must have unsigned values"):
        read_image(path, 4)


def deep(kind):
    """A file of 6 x 8 pixels with values up to 4,095 in 16 bits."""
    channels = {"grey.png": 1, "rgb.png": 3, "la.png": 2, "rgba.png": 4}.get(kind, 3)
    values = np.random.default_rng(0).integers(0, 4096, (6, 8, channels))
    if kind.endswith(".png"):
        rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
        return png(6, 8, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], rows)
    if kind == "raw.ppm":
        return b"P6\n8 6\n4095\n" + values.astype(">u2").tobytes()
    if kind == "plain.ppm":
        return f"P3\n8 6\n4095\n{' '.join(map(str, values.ravel()))}\n".encode()
    data, tags = values.astype("<u2").tobytes(), {256: 8, 257: 6, 259: 1, 262: 2, 273: 8, 277: 3}
    bits = 8 + len(data) + 2 + 12 * 9 + 4  # where the three numbers of bits stand
    tags |= {258: bits, 278: 6, 279: len(data)}
    fields = b"".join(
        struct.pack("<HHII", tag, 3, 3 if tag == 258 else 1, tags[tag]) for tag in sorted(tags)
    )
    directory = struct.pack("<H", len(tags)) + fields + bytes(4) + struct.pack("<3H", 16, 16, 16)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + directory


KINDS = ("grey.png", "rgb.png", "la.png", "rgba.png", "raw.ppm", "plain.ppm", "rgb.tif")


@pytest.mark.parametrize("kind", KINDS)
def test_16_bits_a_channel_are_refused_not_cut_to_their_high_byte(tmp_path, kind):
    (tmp_path / kind).write_bytes(deep(kind))
    with pytest.raises(ValueError, match=rf"{kind}: images must have 8 bits a channel, got"):
        read_image(tmp_path / kind, (6, 8))
    with pytest.raises(ValueError, match="record: images must have 8 bits a channel"):
        images.decode_image(deep(kind), "record")


def test_fewer_than_8_bits_a_channel_are_scaled_to_them(tmp_path):
    (tmp_path / "a.pgm").write_bytes(b"P5\n2 1\n15\n\x00\x0f")
    assert read_image(tmp_path / "a.pgm", (1, 2))[0, :, 0].tolist() == [0, 255]
    (tmp_path / "a.png").write_bytes(png(1, 4, 2, 0, b"\0" + bytes([0b00011011])))
    assert read_image(tmp_path / "a.png", (1, 4))[0, :, 0].tolist() == [0, 85, 170, 255]
