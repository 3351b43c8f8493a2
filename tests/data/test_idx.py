"""MNIST and Fashion-MNIST: the IDX files as they are published, and damaged ones."""

import gzip
import struct

import numpy as np
import pytest

from cnnlab import limits
from cnnlab.data import load
from cnnlab.data.idx import read_idx

FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}


def idx(array):
    """An IDX file as LeCun's page describes it: magic number, big-endian sizes, bytes."""
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    made = {}
    for part, n in (("train", 40), ("test", 20)):
        made[part, "images"] = rng.integers(0, 256, (n, 28, 28), np.uint8)
        made[part, "labels"] = (np.arange(n) % 10).astype(np.uint8)
    return made


def write(folder, *, compressed=False, dots=False, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for key, array in arrays(seed).items():
        name = FILES[key].replace("-idx", ".idx") if dots else FILES[key]
        paths[key] = folder / (name + ".gz" if compressed else name)
        paths[key].write_bytes(gzip.compress(idx(array), 1) if compressed else idx(array))
    return paths


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dots", [False, True])
@pytest.mark.parametrize("where", [".", "mnist", "MNIST/raw"])
def test_the_published_files_are_read(tmp_path, compressed, dots, where):
    write(tmp_path / where, compressed=compressed, dots=dots)
    parts = load("mnist", tmp_path, validation=None)
    made = arrays()
    np.testing.assert_array_equal(parts.train.images[..., 0], made["train", "images"])
    np.testing.assert_array_equal(parts.train.labels, made["train", "labels"])
    np.testing.assert_array_equal(parts.test.images[..., 0], made["test", "images"])
    np.testing.assert_array_equal(parts.test.labels, made["test", "labels"])
    assert parts.train.class_names == tuple("0123456789")
    assert "official test part" in parts.notes


def test_each_data_set_is_taken_from_the_folder_of_its_name(tmp_path):
    write(tmp_path / "mnist", seed=1)
    write(tmp_path / "fashion_mnist", seed=2)
    fashion = load("fashion_mnist", tmp_path, validation=None)
    np.testing.assert_array_equal(fashion.train.images[..., 0], arrays(2)["train", "images"])
    assert fashion.train.class_names[9] == "Ankle boot"


def test_two_copies_are_not_mixed(tmp_path):
    write(tmp_path / "mnist")
    write(tmp_path)
    (tmp_path / "mnist" / FILES["test", "labels"]).unlink()
    with pytest.raises(FileNotFoundError, match="t10k-labels-idx1-ubyte"):
        load("mnist", tmp_path)


def test_a_file_that_was_unpacked_but_kept_its_name_is_read(tmp_path):
    path = write(tmp_path, compressed=True)["train", "images"]
    path.write_bytes(gzip.decompress(path.read_bytes()))
    assert len(load("mnist", tmp_path, validation=None).train) == 40


def test_a_missing_file_is_named_with_the_names_that_were_tried(tmp_path):
    write(tmp_path)["train", "labels"].unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load("mnist", tmp_path)
    for name in ("train-labels-idx1-ubyte", "train-labels.idx1-ubyte.gz", "MNIST/raw", "publisher"):
        assert name in str(caught.value)


def cut(data):
    return data[: len(data) // 2]


def flipped(data):
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 16
    return bytes(damaged)


LABELS = arrays()["train", "labels"]


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("images", cut, "truncated: its header declares 40 x 28 x 28"),
        ("images", lambda d: d + b"x", "damaged.*got 31361"),
        ("images", lambda d: d[:9], "truncated: its header must be 16 bytes"),
        ("images", lambda d: b"", "empty file"),
        ("images", lambda d: b"<html>not found</html>", "no IDX file"),
        ("images", lambda d: idx(LABELS), r"must hold images.*1 dimensions \(labels\)"),
        ("labels", lambda d: idx(np.zeros((4, 28, 28), np.uint8)), "must hold labels"),
        ("images", lambda d: b"\0\0\x0d" + d[3:], "type 0d"),
        ("images", lambda d: idx(np.zeros((40, 32, 32), np.uint8)), "28 x 28, got 32 x 32"),
        ("labels", lambda d: idx(LABELS[:39]), "40 images, 39 labels"),
        ("labels", lambda d: idx(LABELS + 1), "0..9, got 10"),
        ("images", lambda d: cut(gzip.compress(d)), "truncated: its gzip"),
        ("images", lambda d: flipped(gzip.compress(d)), "damaged"),
        ("images", lambda d: gzip.compress(d)[:-8] + bytes(8), "damaged: CRC"),
    ],
)
def test_a_damaged_file_or_one_of_another_data_set_is_named(tmp_path, key, change, message):
    path = write(tmp_path)["train", key]
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        load("mnist", tmp_path)
    assert str(path) in str(caught.value)


def test_a_bomb_is_refused_by_its_header(tmp_path, monkeypatch):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.zeros((1000, 28, 28), np.uint8))))
    assert path.stat().st_size < 1000
    monkeypatch.setattr(limits, "unpacked_bytes", 700_000)
    monkeypatch.setattr(gzip.GzipFile, "read", at_most(16, gzip.GzipFile.read))
    with pytest.raises(ValueError, match=r"ubyte\.gz would unpack to 784000 bytes; 700000 are all"):
        read_idx(path, 3)
    monkeypatch.undo()
    assert read_idx(path, 3).shape == (1000, 28, 28)


def at_most(count, read):
    """``read``, which must not be asked for more bytes than ``count``."""

    def checked(self, size=-1):
        assert 0 <= size <= count
        return read(self, size)

    return checked


def test_no_more_is_unpacked_than_the_header_declares(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(idx(np.zeros((2, 28, 28), np.uint8)) + bytes(2**24)))
    with pytest.raises(
        ValueError, match=rf"damaged.*1568 bytes of data, got {1568 + 2**20} or more"
    ):
        read_idx(path, 3)


@pytest.mark.parametrize("packed", [False, True])
def test_a_header_alone_allocates_nothing(tmp_path, packed):
    path = tmp_path / "train-images-idx3-ubyte"
    header = struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**10, 2**10)
    path.write_bytes(gzip.compress(header) if packed else header)
    with pytest.raises(ValueError, match="would unpack" if packed else "truncated.*got 0"):
        read_idx(path, 3)


def test_a_file_in_place_of_the_folder_is_said(tmp_path):
    path = write(tmp_path)["train", "images"]
    with pytest.raises(FileNotFoundError, match=rf"must be the folder of.*Pass {tmp_path}\."):
        load("mnist", path)


def test_the_files_of_the_other_data_set_are_known_by_their_first_labels(tmp_path):
    path = write(tmp_path)["train", "labels"]
    labels = LABELS.copy()
    labels[:10] = (9, 0, 0, 3, 0, 2, 7, 2, 5, 5)  # Fashion-MNIST's, as published
    path.write_bytes(idx(labels))
    assert load("fashion_mnist", tmp_path, validation=None).train.name == "fashion_mnist"
    with pytest.raises(ValueError, match="labels of fashion_mnist, not of mnist"):
        load("mnist", tmp_path)


def test_an_empty_class_is_named(tmp_path):
    path = write(tmp_path)["test", "labels"]
    path.write_bytes(idx(np.where(np.arange(20) % 10 == 4, 5, np.arange(20) % 10).astype(np.uint8)))
    with pytest.raises(ValueError, match=r"empty class.*the test part.*'4'"):
        load("mnist", tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_parts_are_marked(tmp_path, name, check_marks):
    write(tmp_path)
    check_marks(load(name, tmp_path, validation=0.25))


def test_a_name_without_an_end_in_a_header_of_gzip_is_refused(tmp_path):
    """Python reads it byte by byte: 50 MB of it take 14 s."""
    whole = gzip.compress(struct.pack(">HBB3I", 0, 8, 3, 1, 28, 28) + bytes(784))
    path = tmp_path / "named.gz"
    for name, good in ((b"a" * 1000 + b"\0", True), (b"a" * 10**5 + b"\0", False)):
        path.write_bytes(whole[:3] + b"\x08" + whole[4:10] + name + whole[10:])
        if good:
            assert read_idx(path, 3).shape == (1, 28, 28)
            continue
        with pytest.raises(ValueError, match=r"named\.gz is damaged: a header in it is longer"):
            read_idx(path, 3)
