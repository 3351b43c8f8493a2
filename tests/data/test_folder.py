"""Folders of images."""

import os

import numpy as np
import pytest
from PIL import Image

from cnnlab.data import compute_statistics, fingerprint, load
from cnnlab.data import folder as folders
from cnnlab.data import images as image_files


def picture(seed, height=6, width=8):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def classes(root, names=("cat", "dog"), n=10, seed=0, **size):
    """``n`` PNG files a class; the pictures in the order in which they must be read."""
    made = []
    for k, name in enumerate(names):
        for i in range(n):
            made.append(picture([seed, k, i], **size))
            save(root / name / f"{i:02}.png", made[-1])
    return np.stack(made)


def test_a_folder_a_class(tmp_path):
    pixels = classes(tmp_path)
    parts = folders.read(tmp_path)
    np.testing.assert_array_equal(parts.train.images, pixels)
    assert parts.train.labels.tolist() == [0] * 10 + [1] * 10
    assert parts.train.class_names == ("cat", "dog")
    assert parts.test is None


def test_without_a_test_part_one_is_split_off(tmp_path):
    classes(tmp_path)
    parts = load("folder", tmp_path, test=0.2, validation=0.25)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (12, 4, 4)
    assert np.bincount(parts.test.labels).tolist() == [2, 2]
    assert "test: 20 % of all, stratified, seed 0" in parts.notes


@pytest.mark.parametrize("name", ["val", "valid", "validation", "test"])
def test_val_over_the_classes_is_the_test_part(tmp_path, name):
    train = classes(tmp_path / "train")
    held = classes(tmp_path / name, n=3, seed=1)
    parts = load("folder", tmp_path, validation=None)
    np.testing.assert_array_equal(parts.train.images, train)
    np.testing.assert_array_equal(parts.test.images, held)
    assert f"test is the folder {name}/" in parts.notes


def test_with_all_three_val_is_the_validation_part(tmp_path):
    classes(tmp_path / "train")
    val, held = classes(tmp_path / "val", n=3, seed=1), classes(tmp_path / "test", n=4, seed=2)
    parts = load("folder", tmp_path)
    np.testing.assert_array_equal(parts.validation.images, val)
    np.testing.assert_array_equal(parts.test.images, held)
    assert len(parts.train) == 20
    assert load("folder", tmp_path, validation=None).validation is None


def test_the_path_may_stand_in_the_name(tmp_path):
    classes(tmp_path / "pets")
    absolute = load(f"folder:{tmp_path / 'pets'}")
    assert fingerprint(absolute.train) == fingerprint(load("folder:pets", tmp_path).train)
    assert absolute.train.name == "pets"


@pytest.mark.parametrize("extension", "png bmp gif JPG jpeg webp tif TIFF ppm jfif".split())
def test_kinds_of_files(tmp_path, extension):
    pixels = np.full((6, 8, 3), 77, np.uint8)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        kind = "JPEG" if extension == "jfif" else None
        Image.fromarray(pixels).save(tmp_path / name / f"x.{extension}", kind)
    images = folders.read(tmp_path).train.images
    assert images.shape == (2, 6, 8, 3)
    np.testing.assert_allclose(images, 77, atol=2)


def test_grey_palette_and_transparent_images_become_rgb(tmp_path):
    grey = np.arange(48, dtype=np.uint8).reshape(6, 8)
    save(tmp_path / "a" / "1.png", grey)
    colours = picture(3)
    colours[...] = colours[0, 0]
    (tmp_path / "b").mkdir()
    Image.fromarray(colours).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "b/1.png")
    Image.fromarray(np.dstack([picture(1), np.full_like(grey, 255)])).save(tmp_path / "b/2.png")
    images = folders.read(tmp_path).train.images
    np.testing.assert_array_equal(images[0], np.stack([grey] * 3, -1))
    np.testing.assert_array_equal(images[1], colours)
    np.testing.assert_array_equal(images[2], picture(1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_what_is_transparent_is_shown_on_white_and_counted(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(image_files, "_STRIP", 4)
    classes(tmp_path, n=2)
    alpha = np.random.default_rng(0).integers(0, 256, (6, 8), np.uint8)
    if mode in ("P", "RGB"):  # transparent or not
        alpha = np.where(alpha > 127, 255, 0).astype(np.uint8)
    black = np.zeros((6, 8), np.uint8)  # drawn by the transparency alone
    if mode == "P":
        image = Image.fromarray((alpha // 255).astype(np.uint8), "P")
        image.putpalette([9, 9, 9, 0, 0, 0])
        image.save(tmp_path / "dog" / "01.png", transparency=0)
    elif mode == "RGB":
        keyed = np.where(alpha[..., None] == 0, np.uint8(9), black[..., None]).repeat(3, -1)
        Image.fromarray(keyed).save(tmp_path / "dog" / "01.png", transparency=(9, 9, 9))
    else:
        save(tmp_path / "dog" / "01.png", np.dstack([black] * (len(mode) - 1) + [alpha]))
    parts = folders.read(tmp_path)
    # Black over white: 255 (1 - alpha / 255).
    wanted = np.stack([255 - alpha] * 3, -1)
    np.testing.assert_allclose(parts.train.images[3], wanted, atol=1)
    assert parts.notes == ("1 images are transparent in places: shown on white",)
    lazy = folders.read(tmp_path, memory_limit=0).train.images
    np.testing.assert_array_equal(lazy[3], parts.train.images[3])


def test_sub_folders_belong_to_their_class_and_other_files_are_passed_over(tmp_path):
    classes(tmp_path, n=2)
    save(tmp_path / "cat" / "more" / "x.png", picture(9))
    (tmp_path / "cat" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "cat" / "._00.png").write_bytes(b"x")
    (tmp_path / ".cache").mkdir()
    parts = folders.read(tmp_path)
    assert np.bincount(parts.train.labels).tolist() == [3, 2]
    assert parts.notes == (
        "sub-folders joined into their class: cat/more/ (1 images)",
        f"1 files that are no images passed over in {tmp_path.name}/ (.db)",
    )


def test_different_sizes_need_an_image_size(tmp_path):
    classes(tmp_path)
    save(tmp_path / "dog" / "99.png", picture(0, 6, 9))
    with pytest.raises(ValueError, match=r"6 x 8 .*99\.png is 6 x 9.*image_size"):
        load("folder", tmp_path)
    for size in (4, np.int64(4), (4, 4), [4, 4]):
        assert load("folder", tmp_path, image_size=size).train.image_shape == (4, 4, 3)


def test_resizing_covers_and_cuts_at_the_centre(tmp_path):
    # Left third red, middle green, right blue; 12 x 36, so a square keeps the green alone.
    bands = np.zeros((12, 36, 3), np.uint8)
    for c in range(3):
        bands[:, 12 * c : 12 * (c + 1), c] = 200
    for name in ("a", "b"):
        save(tmp_path / name / "1.png", bands)
    square = folders.read(tmp_path, image_size=12).train.images[0]
    np.testing.assert_array_equal(square, bands[:, 12:24])
    smaller = folders.read(tmp_path, image_size=4).train.images[0]
    np.testing.assert_array_equal(smaller[:, 1:3], np.broadcast_to([0, 200, 0], (4, 2, 3)))
    tall = folders.read(tmp_path, image_size=(24, 12)).train.images[0]
    assert tall.shape == (24, 12, 3)
    assert (tall[:, :, 1] == 200).all()


@pytest.mark.parametrize("memory_limit", [2**30, 0])
def test_names_that_are_not_utf8(tmp_path, memory_limit):
    classes(tmp_path)
    before = fingerprint(folders.read(tmp_path, memory_limit=memory_limit).train)
    raw = os.fsencode(tmp_path)
    os.rename(raw + b"/dog/03.png", raw + b"/dog/caf\xe9.png")
    os.rename(raw + b"/dog", raw + b"/d\xf6g")
    data = folders.read(tmp_path, memory_limit=memory_limit).train
    assert data.class_names == ("cat", r"d\udcf6g")  # as text that can be drawn and printed
    "".join(data.class_names).encode()
    assert len(data.images[:]) == 20
    assert fingerprint(data) not in (before, fingerprint(data.take([1, 0])))


def test_links_are_followed(tmp_path):
    classes(tmp_path / "data")
    linked = save(tmp_path / "elsewhere" / "99.png", picture(5))
    (tmp_path / "data" / "cat" / "more").symlink_to(linked.parent)
    (tmp_path / "data" / "dog" / "99.png").symlink_to(linked)
    (tmp_path / "data" / "fox").symlink_to(linked.parent)
    (tmp_path / "data" / "cat" / "loop").symlink_to(tmp_path / "data" / "cat")
    parts = folders.read(tmp_path / "data")
    assert parts.train.class_names == ("cat", "dog", "fox")
    assert np.bincount(parts.train.labels).tolist() == [11, 11, 1]
    for last in (10, 21, 22):
        np.testing.assert_array_equal(parts.train.images[last], picture(5))


def no_file(path, kind):
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to({"nowhere": path.parent / "gone.png", "itself": path}[kind])


@pytest.mark.parametrize("kind", ["nowhere", "itself", "pipe"])
@pytest.mark.parametrize("image_size", [None, 4])
def test_what_has_the_name_of_an_image_and_is_no_file_is_unreadable(tmp_path, kind, image_size):
    classes(tmp_path)
    no_file(tmp_path / "dog" / "99.png", kind)
    with pytest.raises(ValueError, match=r"dog/99\.png cannot be read.*no file, or a link to none"):
        folders.read(tmp_path, image_size)
    parts = folders.read(tmp_path, image_size, on_unreadable="skip")
    assert len(parts.train) == 20
    assert parts.notes == ("1 unreadable file skipped (dog/99.png)",)


def damage(tmp_path, how):
    path = tmp_path / "dog" / "03.png"
    path.write_bytes(how(path.read_bytes()))
    return path


DAMAGE = [lambda d: b"no image", lambda d: d[: len(d) // 2], lambda d: b""]


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("image_size", [None, 4])
def test_an_unreadable_file_is_named(tmp_path, how, image_size):
    classes(tmp_path)
    path = damage(tmp_path, how)
    with pytest.raises(ValueError, match="cannot be read as an image") as caught:
        load("folder", tmp_path, image_size=image_size)
    assert str(path) in str(caught.value)
    assert "on_unreadable='skip'" in str(caught.value)


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("memory_limit", [2**30, 0])
def test_unreadable_files_are_skipped_and_counted_on_request(tmp_path, how, memory_limit):
    pixels = classes(tmp_path)
    damage(tmp_path, how)
    parts = folders.read(tmp_path, on_unreadable="skip", memory_limit=memory_limit)
    np.testing.assert_array_equal(parts.train.images[:], np.delete(pixels, 13, 0))
    assert parts.train.labels.tolist() == [0] * 10 + [1] * 9
    assert parts.notes == ("1 unreadable file skipped (dog/03.png)",)


def test_skipping_the_whole_of_a_class_leaves_an_empty_class(tmp_path):
    classes(tmp_path, n=4)
    for path in (tmp_path / "dog").iterdir():
        path.write_bytes(b"x")
    with pytest.raises(ValueError, match=r"empty class.*'dog'"):
        load("folder", tmp_path, on_unreadable="skip")


def test_a_file_of_16_bits_is_refused_not_clipped(tmp_path):
    classes(tmp_path)
    Image.fromarray(np.full((6, 8), 40000, np.uint16)).save(tmp_path / "cat" / "00.png")
    with pytest.raises(ValueError, match=r"00\.png: images must have 8 bits"):
        load("folder", tmp_path)


def test_an_empty_class_is_named(tmp_path):
    classes(tmp_path)
    (tmp_path / "fox").mkdir()
    with pytest.raises(ValueError, match=r"empty class: .*fox must hold images"):
        load("folder", tmp_path)


def test_parts_must_have_the_same_classes(tmp_path):
    classes(tmp_path / "train")
    classes(tmp_path / "val", names=("cat", "fox"))
    with pytest.raises(ValueError, match="lacks dog and has fox"):
        load("folder", tmp_path)


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder in it"):
        load("folder", tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load("folder", tmp_path / "nowhere")
    np.savez(tmp_path / "x.npz", images=picture(0))
    with pytest.raises(FileNotFoundError, match=r"x\.npz must be a folder.*--dataset npz"):
        load("folder", tmp_path / "x.npz")


@pytest.mark.parametrize("size", [0, -1, (4,), (4, 0), (4, 4, 3), "large", 4.0, True])
def test_an_invalid_image_size_is_refused(tmp_path, size):
    classes(tmp_path)
    with pytest.raises(ValueError, match="image_size must be a side"):
        load("folder", tmp_path, image_size=size)


def test_an_unknown_choice_for_unreadable_files_is_refused(tmp_path):
    classes(tmp_path)
    with pytest.raises(ValueError, match="'error' or 'skip', got 'ignore'"):
        load("folder", tmp_path, on_unreadable="ignore")


def test_a_part_over_the_memory_limit_is_lazy_and_the_same(tmp_path):
    classes(tmp_path)
    lazy = load("folder", tmp_path, memory_limit=20 * 6 * 8 * 3 - 1)
    here = load("folder", tmp_path, memory_limit=20 * 6 * 8 * 3)
    assert isinstance(here.train.images, np.ndarray)
    assert not isinstance(lazy.train.images, np.ndarray)
    for a, b in ((lazy.train, here.train), (lazy.validation, here.validation)):
        np.testing.assert_array_equal(a.images[:], b.images)
        np.testing.assert_array_equal(a.labels, b.labels)
    assert lazy.train.statistics == here.train.statistics == compute_statistics(lazy.train)


def test_exchanged_contents_of_lazy_images_are_seen(tmp_path):
    for name in ("cat", "dog"):
        for i in range(2):  # uncompressed, so that all files have one size: 151 KiB
            pixels = np.full((224, 224, 3), 200, np.uint8)
            pixels[100:120, 60:80] = picture([ord(name[0]), i], 20, 20)  # away from the start
            save(tmp_path / name / f"{i}.bmp", pixels)
    before = folders.read(tmp_path, memory_limit=0).train
    known = fingerprint(before)
    one, other = tmp_path / "cat" / "0.bmp", tmp_path / "dog" / "0.bmp"
    assert one.stat().st_size == other.stat().st_size > 2**17
    contents = one.read_bytes(), other.read_bytes()
    other.write_bytes(contents[0])
    one.write_bytes(contents[1])
    assert fingerprint(folders.read(tmp_path, memory_limit=0).train) != known
    assert fingerprint(before) != known  # though it was read before
    one.write_bytes(contents[0])
    other.write_bytes(contents[1])
    assert fingerprint(before) == known


def test_the_fingerprint_of_lazy_images_is_of_names_and_contents(tmp_path):
    for copy in ("one", "two"):
        classes(tmp_path / copy)
    one, two = (folders.read(tmp_path / c, memory_limit=0).train for c in ("one", "two"))
    assert fingerprint(one) == fingerprint(two)
    assert fingerprint(one.take([0, 1])) != fingerprint(one.take([1, 0]))
    resized = folders.read(tmp_path / "one", image_size=(8, 6), memory_limit=0).train
    assert fingerprint(resized) != fingerprint(one)
    save(tmp_path / "two" / "cat" / "00.png", np.zeros((6, 8, 3), np.uint8))
    assert fingerprint(one) != fingerprint(two)


def test_a_lazy_file_that_is_damaged_later_is_named_on_access(tmp_path):
    classes(tmp_path)
    data = folders.read(tmp_path, memory_limit=0).train
    path = damage(tmp_path, lambda d: d[:-40])
    data.images[12]
    with pytest.raises(ValueError, match="cannot be read") as caught:
        data.images[13]
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("memory_limit", [2**30, 0])
@pytest.mark.parametrize("parts", [(".",), ("train", "val"), ("train", "val", "test")])
def test_parts_are_marked(tmp_path, parts, memory_limit, check_marks):
    for seed, part in enumerate(parts):
        classes(tmp_path / part, seed=seed)
    check_marks(load("folder", tmp_path, validation=0.25, memory_limit=memory_limit))
