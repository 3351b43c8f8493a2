"""What the final parts share, and values that cannot be right."""

import shutil

import numpy as np
import pytest
from PIL import Image

from cnnlab.data import load, part_checks
from cnnlab.data.folder_images import FolderImages


def pictures(n, seed=0, side=4):
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), np.uint8)


def labels(n):
    return np.arange(n) % 2


def load_npz(tmp_path, train, test=None, published=None, **options):
    arrays = {"x_train": train, "y_train": labels(len(train))}
    for name, images in (("test", test), ("val", published)):
        if images is not None:
            arrays |= {f"x_{name}": images, f"y_{name}": labels(len(images))}
    np.savez(tmp_path / "d.npz", **arrays)
    return load("npz", tmp_path / "d.npz", **options)


def counted(splits, part, other):
    """How many images of a part are in another one, by comparing them all."""
    ours, theirs = (set(map(bytes, getattr(splits, p).images[:])) for p in (part, other))
    return len([1 for image in getattr(splits, part).images[:] if bytes(image) in theirs & ours])


def folder_of(root, images):
    """A class "a" and a class "b", in turn."""
    for i, pixels in enumerate(images):
        (root / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / "ab"[i % 2] / f"{i:03}.png")


def test_images_that_parts_share_are_counted(tmp_path):
    train = pictures(80)
    test = np.concatenate([train[:12], pictures(28, seed=1)])
    splits = load_npz(tmp_path, train, test, test[30:], validation=None)
    assert "12 of the 40 test images are in the training part, too" in splits.notes
    splits = load_npz(tmp_path, train, test, np.concatenate([test[30:], pictures(30, seed=2)]))
    assert "10 of the 40 test images are in the validation part, too" in splits.notes
    splits = load_npz(tmp_path, train, test)  # validation is split off training
    shared = [counted(splits, "test", other) for other in ("train", "validation")]
    assert sum(shared) == 12
    assert f"{shared[0]} of the 40 test images are in the training part, too" in splits.notes


@pytest.mark.parametrize("validation", [0.1, 0.5])
def test_a_published_part_that_is_a_copy_is_refused(tmp_path, validation):
    train = pictures(80)
    message = "test part must have images of its own, but 40 of its 40 are in the training part"
    with pytest.raises(ValueError, match=message):
        load_npz(tmp_path, train, train[:40], validation=validation)
    held = pictures(40, seed=1)
    with pytest.raises(ValueError, match="test part .* 40 of its 40 are in the validation part"):
        load_npz(tmp_path, train, held, held)
    with pytest.raises(ValueError, match="validation part .* 21 of its 40 are in the training"):
        load_npz(tmp_path, train, held, np.concatenate([train[:21], pictures(19, seed=2)]))
    assert "20 of the 40 validation" in (
        load_npz(tmp_path, train, held, np.concatenate([train[:20], pictures(20, seed=2)])).notes
    )


def test_duplicates_on_both_sides_of_our_own_split_are_counted(tmp_path):
    splits = load_npz(
        tmp_path, pictures(40).repeat(2, 0).reshape(2, 40, 4, 4, 3).reshape(80, 4, 4, 3)
    )
    for part, other, title in (
        ("test", "train", "training"),
        ("validation", "train", "training"),
        ("test", "validation", "validation"),
    ):
        count = counted(splits, part, other)
        note = f"{count} of the {len(getattr(splits, part))} {part} images are in the {title} part"
        assert (note in splits.notes) == (count > 0)
    assert counted(splits, "test", "train") > 0


def test_one_image_in_two_classes_is_counted(tmp_path):
    train = pictures(80)
    train[41], train[43] = train[0], train[2]  # even places are of one class, odd of the other
    train[44] = train[4]
    assert "2 images are in several classes" in load_npz(tmp_path, train).notes


@pytest.mark.parametrize("name", ["digits", "synthetic:60:4x4x1:3"])
def test_data_without_duplicates_have_the_notes_that_they_had(name):
    notes = load(name).notes.split("; ")
    assert [note.split(":")[0] for note in notes[-1:]] == ["validation"]
    assert len(notes) == 2


# All parts in memory; training on the disk and test in memory; all on the disk.
LIMITS = [2**30, 80 * 48 - 1, 0]


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("linked", [False, True])
def test_a_test_folder_of_training_files_is_refused(tmp_path, limit, linked):
    folder_of(tmp_path / "train", pictures(80))
    for name in "ab":
        if linked:
            (tmp_path / "test").mkdir(exist_ok=True)
            (tmp_path / "test" / name).symlink_to(tmp_path / "train" / name)
        else:
            shutil.copytree(tmp_path / "train" / name, tmp_path / "test" / f"{name}")
            for path in list((tmp_path / "test" / name).iterdir())[20:]:
                path.unlink()
            for path in (tmp_path / "test" / name).iterdir():
                path.rename(path.with_name(f"copy_{path.name}"))
    count = 80 if linked else 40
    with pytest.raises(ValueError, match=rf"{count} of its {count} are in the training part"):
        load("folder", tmp_path, memory_limit=limit)


@pytest.mark.parametrize("limit", LIMITS)
def test_files_that_folders_share_are_counted(tmp_path, limit):
    train = pictures(80)
    folder_of(tmp_path / "train", train)
    folder_of(tmp_path / "test", np.concatenate([pictures(28, seed=1), train[:12]]))
    (tmp_path / "test" / "a" / "gone.png").symlink_to(tmp_path / "gone.png")
    options = {"memory_limit": limit, "validation": None, "on_unreadable": "skip"}
    notes = load("folder", tmp_path, **options).notes
    assert notes.count("12 of the 40 test images are in the training part, too") == 1


@pytest.mark.parametrize("limit", [2**30, 0])
def test_duplicates_within_a_folder_are_counted(tmp_path, limit):
    twice = np.concatenate([pictures(40), pictures(40)])
    folder_of(tmp_path, twice)
    splits = load("folder", tmp_path, memory_limit=limit)
    shared = counted(splits, "test", "train")
    assert shared and f"{shared} of the 16 test images are in the training part" in splits.notes


def test_large_files_that_differ_outside_of_the_sample_are_different(tmp_path):
    for i in range(3):  # uncompressed, 151 KiB each
        pixels = np.full((224, 224, 3), 200, np.uint8)
        pixels[150, 0] = i % 2
        Image.fromarray(pixels).save(tmp_path / f"{i}.bmp")
    images = FolderImages(tmp_path, ["0.bmp", "1.bmp", "2.bmp"], (224, 224))
    assert len({images.content(i) for i in range(3)}) == 1  # the case that is tested
    (keys,) = part_checks._file_keys([[(images, i) for i in range(3)]])
    assert keys[0] == keys[2] != keys[1]


@pytest.mark.parametrize("limit", [2**30, 0])
def test_training_images_that_are_all_the_same_are_refused(tmp_path, limit):
    folder_of(tmp_path, np.full((40, 4, 4, 3), 9, np.uint8))
    with pytest.raises(ValueError, match="training images must differ, but all 29 are the same"):
        load("folder", tmp_path, memory_limit=limit)
    folder_of(tmp_path, pictures(3))
    load("folder", tmp_path, memory_limit=limit)


def binary(images):
    return (images > 127).astype(np.uint8)


def test_images_of_0_and_1_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"training part are only 0 and 1\. Multiply them by 255"):
        load_npz(tmp_path, binary(pictures(80)), binary(pictures(40, seed=1)))
    message = "those of the test part are only 0 and 1, beside up to 255 in training"
    with pytest.raises(ValueError, match=message):
        load_npz(tmp_path, pictures(80), binary(pictures(40, seed=1)))
    splits = load_npz(tmp_path, 255 * binary(pictures(80)), 255 * binary(pictures(40, seed=1)))
    assert splits.train.images.max() == 255


def test_images_of_0_and_1_are_refused_in_lazy_folders(tmp_path):
    folder_of(tmp_path / "train", pictures(80))
    folder_of(tmp_path / "test", binary(pictures(40, seed=1)))
    with pytest.raises(ValueError, match="test part are only 0 and 1"):
        load("folder", tmp_path, memory_limit=0)
    folder_of(tmp_path / "test", pictures(2, seed=2))  # two photographs among them
    load("folder", tmp_path, memory_limit=0)


def test_another_range_in_another_part_is_said(tmp_path):
    notes = load_npz(tmp_path, pictures(80), pictures(40, seed=1) // 16).notes
    assert "the highest value is 255 in the training and 15 in the test part" in notes
    assert "highest" not in load_npz(tmp_path, pictures(80), pictures(40, seed=1) // 2).notes
