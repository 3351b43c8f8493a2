"""Data sets in .npz files."""

import io
import zipfile

import numpy as np
import pytest

from cnnlab import limits
from cnnlab.data import load


def pictures(n=20, shape=(5, 6, 3), seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def labels(n=20, k=4):
    return np.arange(n) % k


def save(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def test_images_and_labels_are_split(tmp_path):
    path = save(tmp_path / "d.npz", images=pictures(), labels=labels())
    parts = load("npz", path, test=0.2, validation=0.25)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (12, 4, 4)
    assert parts.train.class_names == ("0", "1", "2", "3")
    assert parts.train.name == "d"


@pytest.mark.parametrize(
    "keys",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
    ],
)
def test_the_usual_names_of_arrays(tmp_path, keys):
    held = pictures(8, seed=1)
    arrays = dict(zip(keys, (pictures(), labels(), held, labels(8)), strict=True))
    parts = load(f"npz:{save(tmp_path / 'd.npz', **arrays)}", validation=None)
    np.testing.assert_array_equal(parts.train.images, pictures())
    np.testing.assert_array_equal(parts.test.images, held)
    np.testing.assert_array_equal(parts.test.labels, labels(8))


def test_a_validation_part_is_used_where_there_is_one(tmp_path):
    arrays = {
        f"{part}_{kind}": value
        for part, n in (("train", 20), ("val", 8), ("test", 12))
        for kind, value in (("images", pictures(n, seed=n)), ("labels", labels(n)[:, None]))
    }
    parts = load("npz", save(tmp_path / "d.npz", **arrays))
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (20, 8, 12)
    assert parts.validation.labels.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_grey_images_get_a_channel_axis(tmp_path):
    grey = pictures(shape=(5, 6))
    parts = load("npz", save(tmp_path / "d.npz", images=grey, labels=labels()), validation=None)
    assert parts.train.image_shape == (5, 6, 1)


@pytest.mark.parametrize("names", [["a", "b", "c", "d"], [b"a", b"b", b"c", b"d"]])
def test_class_names(tmp_path, names):
    path = save(tmp_path / "d.npz", images=pictures(), labels=labels(), class_names=names)
    assert load("npz", path, validation=None).train.class_names == ("a", "b", "c", "d")


@pytest.mark.parametrize("key", ["classes", "label_names", "Class_Names", "labelNames"])
def test_class_names_may_have_another_usual_name(tmp_path, key):
    arrays = {"images": pictures(), "labels": labels(), key: ["a", "b", "c", "d"]}
    parts = load("npz", save(tmp_path / "d.npz", **arrays), validation=None)
    assert parts.train.class_names == ("a", "b", "c", "d")
    with pytest.raises(ValueError, match=rf"{key} must be text \[K\].*got int64 of shape \(4,\)"):
        load("npz", save(tmp_path / "d.npz", **{**arrays, key: np.arange(4)}))


@pytest.mark.parametrize(
    "keys",
    [
        ("images", "labels", "images_test", "labels_test"),
        ("x_train", "y_train", "X_test", "Y_test"),
        ("X_train", "y_train", "X_test", "y_test"),
        ("Xtrain", "ytrain", "Xtest", "ytest"),
        ("trainImages", "trainLabels", "testImages", "testLabels"),
        ("x_train", "y_train", "test_images", "test_labels"),
        ("image", "label", "testing_image", "testing_target"),
    ],
)
def test_names_without_case_and_in_any_order(tmp_path, keys):
    held = pictures(8, seed=1)
    arrays = dict(zip(keys, (pictures(), labels(), held, labels(8)), strict=True))
    parts = load("npz", save(tmp_path / "d.npz", **arrays), validation=None)
    np.testing.assert_array_equal(parts.train.images, pictures())
    np.testing.assert_array_equal(parts.test.images, held)


@pytest.mark.parametrize("word", ["valid", "val", "validation", "dev"])
def test_a_validation_part_by_its_usual_names(tmp_path, word):
    arrays = {"x_train": pictures(), "y_train": labels()}
    arrays |= {f"x_{word}": pictures(8, seed=1), f"y_{word}": labels(8)}
    parts = load("npz", save(tmp_path / "d.npz", **arrays))
    np.testing.assert_array_equal(parts.validation.images, pictures(8, seed=1))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("x_train", "y_train"), "images and x_train, which both look like the train images"),
        (("Images",), "images and Images, which both look like the train images"),
        (("targets",), "labels and targets, which both look like the train labels"),
        (("classes", "class_names"), "classes and class_names, which both look like the class nam"),
        (("test_data",), r"test_data, which looks like a part that is not used.*Got .*test_data"),
        (("test_indices",), "test_indices, which looks like a part that is not used"),
        (("x_eval", "y_eval"), "x_eval, which looks like a part that is not used"),
        (("x_test",), "x_test but lacks y_test"),
        (("test_targets",), "test_targets but lacks x_test"),
    ],
)
def test_names_that_are_not_clear_are_refused(tmp_path, more, message):
    arrays = {"images": pictures(), "labels": labels(), **dict.fromkeys(more, pictures())}
    with pytest.raises(ValueError, match=rf"d\.npz: it holds {message}"):
        load("npz", save(tmp_path / "d.npz", **arrays))


def test_arrays_that_are_not_used_are_named(tmp_path):
    arrays = {"images": pictures(), "labels": labels(), "ids": labels(), "train_ids": labels()}
    notes = load("npz", save(tmp_path / "d.npz", **arrays), validation=None).notes
    assert "arrays of d.npz passed over: ids, train_ids" in notes


OBJECTS = np.array([{}], dtype=object)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": pictures() / 255}, r"images must be .* got float64.*0\.\.255"),
        ({"images": pictures().transpose(0, 3, 1, 2)}, "channels last"),
        ({"images": np.zeros((20, 4, 16, 16), np.uint8)}, "channels last"),
        ({"images": np.zeros((20, 2, 16, 16), np.uint8)}, "channels last"),
        ({"images": np.zeros((20, 3, 4, 4), np.uint8)}, "channels last"),
        ({"images": pictures()[0, 0]}, "must be"),
        ({"labels": labels() * 1.0}, "whole numbers"),
        ({"labels": np.eye(4, dtype=int)[labels()]}, r"\[N\] or \[N, 1\]"),
        ({"labels": labels() - 1}, "0 or more, got -1..2"),
        ({"labels": labels()[:-1]}, "train part.*20 images and 19 labels"),
        ({"class_names": ["a", "b", "c"]}, "0..2 .* got 3"),
        ({"class_names": [1, 2, 3, 4]}, "must be text"),
        ({"labels": np.where(labels() == 1, 2, labels())}, "empty class.*'1'"),
        ({"class_names": OBJECTS}, "Python objects"),
    ],
)
def test_invalid_arrays_are_refused(tmp_path, change, message):
    path = save(tmp_path / "d.npz", **{"images": pictures(), "labels": labels(), **change})
    with pytest.raises(ValueError, match=message):
        load("npz", path)


def test_missing_arrays_are_named(tmp_path):
    path = save(tmp_path / "d.npz", pixels=pictures(), labels=labels())
    with pytest.raises(ValueError, match="holds labels but lacks images"):
        load("npz", path)
    path = save(tmp_path / "e.npz", pixels=pictures())
    with pytest.raises(ValueError, match=r"e\.npz: it must hold .*x_train and y_train.*got pixels"):
        load("npz", path)


def test_damaged_files_and_other_files_are_named(tmp_path):
    path = save(tmp_path / "d.npz", images=pictures(), labels=labels())
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:middle], whole[:middle] + b"?" * 9 + whole[middle + 9 :], b"x", b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"d\.npz is not an \.npz file"):
            load("npz", path)
    np.save(tmp_path / "one.npy", pictures())
    with pytest.raises(ValueError, match="one array"):
        load("npz", tmp_path / "one.npy")


def test_a_folder_is_told_from_a_file_that_is_missing(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"a folder\. There is no \.npz in it.*--dataset fol"
    ):
        load("npz", tmp_path)
    path = save(tmp_path / "d.npz", images=pictures(), labels=labels())
    with pytest.raises(FileNotFoundError, match=r"Pass one of d\.npz: data_dir='.*d\.npz'"):
        load("npz", tmp_path)
    assert load("npz:d.npz", tmp_path, validation=None).train.name == path.stem
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load("npz", tmp_path / "e.npz")


def test_a_header_that_asks_for_terabytes_is_refused_before_anything_is_allocated(tmp_path):
    header = io.BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": (3 * 10**12, 28, 28)}
    np.lib.format.write_array_header_1_0(header, shape)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        for name in ("images", "labels"):
            archive.writestr(f"{name}.npy", header.getvalue())
    with pytest.raises(ValueError, match=r"d\.npz is not .* has 2352000000000000 bytes, but there"):
        load("npz", tmp_path / "d.npz")


def test_a_file_that_unpacks_to_too_much_is_refused_unless_the_limit_is_raised(
    tmp_path, monkeypatch
):
    flat = np.repeat(np.arange(400) % 256, 20 * 20 * 3).astype(np.uint8).reshape(400, 20, 20, 3)
    path = save(tmp_path / "d.npz", images=flat, labels=labels(400))
    monkeypatch.setattr(limits, "unpacked_bytes", 100_000)
    with pytest.raises(
        ValueError, match=r"d\.npz would unpack to 48.* raise cnnlab\.limits\.unpack"
    ):
        load("npz", path)
    monkeypatch.setattr(limits, "unpacked_bytes", 1_000_000)
    assert load("npz", path).train.image_shape == (20, 20, 3)


def test_class_names_that_are_not_utf8(tmp_path):
    names = np.array([b"a", b"caf\xe9", b"c", b"d"])
    path = save(tmp_path / "d.npz", images=pictures(), labels=labels(), class_names=names)
    assert load("npz", path, validation=None).train.class_names == ("a", r"caf\xe9", "c", "d")
    path = save(
        tmp_path / "d.npz", images=pictures(), labels=labels(), class_names=[*"abc", "\ud800"]
    )
    assert load("npz", path, validation=None).train.class_names[3] == r"\ud800"


def test_parts_are_marked(tmp_path, check_marks):
    arrays = {"images": pictures(), "labels": labels()}
    check_marks(load("npz", save(tmp_path / "one.npz", **arrays), validation=0.25))
    arrays = {
        f"{part}_{kind}": value
        for part, n in (("train", 20), ("val", 8), ("test", 12))
        for kind, value in (("images", pictures(n, seed=n)), ("labels", labels(n)))
    }
    check_marks(load("npz", save(tmp_path / "three.npz", **arrays)))
