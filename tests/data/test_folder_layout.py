"""Which folder of an image folder is which part and which class."""

import numpy as np
import pytest
from PIL import Image

from cnnlab.data import folder, load
from cnnlab.data.folder_names import image_of_mask, part_of


def lay_out(root, *folders, count=6):
    """``count`` different images in each folder."""
    for k, name in enumerate(folders):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = np.random.default_rng([k, i]).integers(0, 256, (4, 5, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def pets(*parts):
    return [f"{part}/{name}" for part in parts for name in ("cat", "dog")]


def sizes(root):
    parts = folder.read(root)
    held = [part and len(part) for part in (parts.validation, parts.test)]
    return parts.train.class_names, len(parts.train), *held


@pytest.mark.parametrize(
    ("train", "test"),
    [
        *(("Train", "Test"), ("TRAIN", "VAL"), ("Training", "Testing"), ("seg_train", "seg_test")),
        *(("training_set", "test_set"), ("TrainImages", "TestImages"), ("train2017", "val2017")),
        ("trainval", "test"),
        *(("train", name) for name in ("Val", "Test", "testing", "eval", "dev", "validate")),
        ("chest-train", "chest-valid"),
    ],
)
def test_parts_are_known_by_their_usual_names_without_case(tmp_path, train, test):
    lay_out(tmp_path, *pets(train))
    lay_out(tmp_path, *pets(test), count=3)
    assert sizes(tmp_path) == (("cat", "dog"), 12, None, 6)
    assert f"test is the folder {test}/" in folder.read(tmp_path).notes


@pytest.mark.parametrize(
    ("validation", "test"),
    [("Val", "TEST"), ("dev", "eval"), ("eval", "test"), ("validation", "Testing")],
)
def test_with_three_parts_each_is_what_it_is_called(tmp_path, validation, test):
    lay_out(tmp_path, *pets("train"))
    lay_out(tmp_path, *pets(validation), count=2)
    lay_out(tmp_path, *pets(test), count=3)
    assert sizes(tmp_path) == (("cat", "dog"), 12, 4, 6)


@pytest.mark.parametrize(
    "name", ["cat", "strain", "latest", "device", "steam_train", "trainer", "retrievals", "images"]
)
def test_names_that_only_resemble_parts_are_classes(tmp_path, name):
    lay_out(tmp_path, "dog", name)
    assert sizes(tmp_path)[0] == tuple(sorted(("dog", name)))


def test_the_part_of_a_name():
    assert part_of("Training_Set") == ("train", "")
    assert part_of("seg_train") == ("train", "seg")
    assert part_of("evalSet2") == ("evaluation", "")
    assert part_of("train_test") is part_of("cat") is None


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (pets("data"), r"data/ is the only one\. Pass .*/data for its cat/, dog/"),
        (
            pets("data/train", "data/test"),
            r"data/ is the only one\. Pass .*/data for its test/, tr",
        ),
        (["cat"], r"at least 2 classes, but cat/ is the only one\. Add another"),
        (["train/steam"], "steam/ is the only one"),
        (["bus", "car", "train/steam"], r"train looks like the training part.*\(bus/, car/\) look"),
        (["bus", "car", "train/steam", "train/diesel"], r"\(bus/, car/\) look like classes"),
        (["bus", "car", "train"], r"class beside bus/, car/, rename it"),
        (["train", "test"], "train looks like the training part and must hold a folder"),
        ([*pets("."), *pets("val")], "val/ has the name of a part"),
        ([*pets("."), "Validation"], "Validation/ has the name of a part"),
        (pets("fold1", "fold2"), "fold1/, fold2/ has the name of a part"),
        (pets("test", "val"), "test/, val/ has the name of a part"),
        ([*pets("train"), "train/test"], "test/ has the name of a part"),
        (pets("train", "Training", "test"), "one train part, but Training/, train/ all look"),
        (pets("train", "val", "valid"), "one validation part, but val/, valid/ all look like it"),
        (pets("a_train", "a_test", "b_train", "b_test"), "one training part, got a_train/, b_trai"),
        (["cat/train", "cat/test", "dog/train", "dog/test"], r"cat is divided into parts"),
        ([*pets("traindata"), "testdata/cat"], "lacks dog"),
        ([*pets("."), "cat/test"], "cat/test looks like a part .* joined with the 6 images beside"),
        ([*pets("."), "cat/test", "dog/test"], "cat/test looks like a part of the class"),
        (["cat/test", "cat/new", "dog"], "cat/test looks like a part of the class"),
        ([*pets("."), "cat/masks", "dog/masks"], "every class has a sub-folder masks/"),
        ([*pets("."), "cat/Thumbs", "dog/Thumbs"], "every class has a sub-folder Thumbs/"),
        (["images", "masks"], "masks/ looks like what lies beside images, and im"),
        (pets("images", "Masks"), "Masks/ looks like what lies beside images"),
        ([*pets("."), "unlabeled"], "unlabeled/ has no labels by its name"),
        ([*pets("train"), "train/Unlabelled", "test/cat"], "Unlabelled/ has no labels by its name"),
        ([*pets("train"), "test/unknown"], "has unknown, which training lacks. If it has no lab"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, folders, message):
    lay_out(tmp_path / "root", *folders)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load("folder", tmp_path / "root")


def test_an_unlabelled_test_part_is_passed_over_and_said(tmp_path):
    lay_out(tmp_path, *pets("train", "val"), "test")
    assert sizes(tmp_path) == (("cat", "dog"), 12, None, 12)
    notes = folder.read(tmp_path).notes
    assert "test/ passed over: it holds 6 images without class folders" in notes
    assert "test is the folder val/" in notes


def test_an_empty_held_out_part_is_said(tmp_path):
    lay_out(tmp_path, *pets("train"))
    (tmp_path / "val").mkdir()
    assert sizes(tmp_path) == (("cat", "dog"), 12, None, None)
    assert "val/ passed over: it holds no image" in folder.read(tmp_path).notes


def test_what_is_passed_over_is_said(tmp_path):
    lay_out(tmp_path, *pets("train", "test", "fold1"), "pred", "train/.")
    (tmp_path / "train" / "cat" / "a.heic").write_bytes(b"x")
    notes = folder.read(tmp_path).notes
    assert "passed over beside train/: fold1/, pred/" in notes
    assert "6 images in train/ passed over: of no class" in notes
    assert "1 files that are no images passed over in train/ (.heic)" in notes


def test_a_class_whose_images_are_all_in_sub_folders_is_said(tmp_path):
    lay_out(tmp_path, "cat/left", "cat/right", "dog")
    assert sizes(tmp_path)[:2] == (("cat", "dog"), 18)
    assert folder.read(tmp_path).notes == (
        "sub-folders joined into their class: cat/left/ (6 images), cat/right/ (6 images)",
    )


def test_sub_folders_beside_images_are_said(tmp_path):
    lay_out(tmp_path, *pets("."))
    lay_out(tmp_path, "cat/masks", "dog/more/still", count=2)
    assert sizes(tmp_path)[:2] == (("cat", "dog"), 16)
    note = "joined into their class: cat/masks/ (2 images), dog/more/ (2 images)"
    assert folder.read(tmp_path).notes == (f"sub-folders {note}",)


@pytest.mark.parametrize("folders", [["fold1", "fold2"], ["train"]])
def test_a_class_in_folds_or_in_one_part_is_joined_and_said(tmp_path, folders):
    lay_out(tmp_path, *(f"{name}/{inner}" for name in ("cat", "dog") for inner in folders))
    assert sizes(tmp_path)[:2] == (("cat", "dog"), 12 * len(folders))
    assert f"cat/{folders[0]}/ (6 images)" in folder.read(tmp_path).notes[0]


@pytest.mark.parametrize(
    ("classes", "kept"),
    [(["mask", "no_mask"], 2), (["masks", "gloves"], 2), (["cat", "dog", "__pycache__"], 2)],
)
def test_classes_that_resemble_what_lies_beside_images(tmp_path, classes, kept):
    lay_out(tmp_path, *classes)
    assert len(sizes(tmp_path)[0]) == kept


def test_a_folder_that_holds_nothing_but_itself_again_is_opened(tmp_path):
    lay_out(tmp_path / "root", *pets("seg_train/seg_train", "seg_test/seg_test"), "seg_pred")
    assert sizes(tmp_path / "root") == (("cat", "dog"), 12, None, 12)
    lay_out(tmp_path / "chest", *pets("chest/train", "chest/val"))
    assert sizes(tmp_path / "chest") == (("cat", "dog"), 12, None, 12)


def test_what_macos_adds_to_an_archive_is_no_class(tmp_path):
    lay_out(tmp_path, *pets("."), "__MACOSX/cat")
    assert sizes(tmp_path)[:2] == (("cat", "dog"), 12)


def test_links_to_nowhere_and_to_another_part_are_refused(tmp_path):
    lay_out(tmp_path, *pets("train"))
    (tmp_path / "test").symlink_to(tmp_path / "train")
    with pytest.raises(ValueError, match="is the train and, by a link, the test part"):
        load("folder", tmp_path)
    (tmp_path / "test").unlink()
    (tmp_path / "train" / "fox").symlink_to(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"train/fox is a link to .*gone, which is not there"):
        load("folder", tmp_path)


@pytest.mark.parametrize(
    ("stem", "image"),
    [
        ("scan (1)_mask", "scan (1)"),
        ("a-GT", "a"),
        ("x_mask_2", "x"),
        ("mask", None),
        ("photo_2", None),
        ("unmask", None),
    ],
)
def test_a_mask_is_known_by_the_name_of_its_image(stem, image):
    assert image_of_mask(stem) == image


def test_masks_beside_images_are_refused(tmp_path):
    lay_out(tmp_path, *pets("x"))
    place = tmp_path / "x" / "cat"
    for i in range(6):
        (place / f"{i}_mask.png").write_bytes((place / f"{i}.png").read_bytes())
    with pytest.raises(ValueError, match=r"cat holds masks beside its images, such as 0_mask\.png"):
        folder.read(tmp_path / "x")
    for i in range(1, 6):
        (place / f"{i}_mask.png").unlink()
    assert sizes(tmp_path / "x")[1] == 13  # one may be called so


def test_folders_that_look_like_one_class_are_refused(tmp_path):
    lay_out(tmp_path / "case", "cat", "Cat", "dog")
    assert (
        "classes that differ in case only: 'Cat' and 'cat'" in folder.read(tmp_path / "case").notes
    )
    lay_out(tmp_path / "accent", "caf\u00e9", "cafe\u0301")
    with pytest.raises(ValueError, match="accent: classes must have names that differ to the eye"):
        folder.read(tmp_path / "accent")
