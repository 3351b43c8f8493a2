"""CIFAR-10 and CIFAR-100 in both published versions, as folders and as archives."""

import gzip
import pickle
import tarfile

import numpy as np
import pytest

from cnnlab import limits
from cnnlab.data import load

FOLDERS = {
    ("cifar10", "binary"): "cifar-10-batches-bin",
    ("cifar10", "python"): "cifar-10-batches-py",
    ("cifar100", "binary"): "cifar-100-binary",
    ("cifar100", "python"): "cifar-100-python",
}
ARCHIVES = {
    ("cifar10", "binary"): "cifar-10-binary.tar.gz",
    ("cifar10", "python"): "cifar-10-python.tar.gz",
    ("cifar100", "binary"): "cifar-100-binary.tar.gz",
    ("cifar100", "python"): "cifar-100-python.tar.gz",
}
COARSE = [f"group_{i:02}" for i in range(20)]  # of five fine classes each
EVERY = [(name, version) for name, version in FOLDERS]


def arrays(name):
    """Train and test: rows [N, 3072] in the published order (a plane a colour), labels [N]."""
    rng = np.random.default_rng(0)
    classes = 10 if name == "cifar10" else 100
    made = {}
    for part, n in (("train", 5 * 2 * classes if classes == 10 else 200), ("test", 2 * classes)):
        made[part] = rng.integers(0, 256, (n, 3072), np.uint8), np.arange(n) % classes
    return made


def class_names(name):
    if name == "cifar10":
        names = "airplane automobile bird cat deer dog frog horse ship truck"
        return names.split()
    return [f"thing_{i:02}" for i in range(100)]


def batches(name):
    """File stem -> (rows, fine labels), as the publisher cuts them."""
    made = arrays(name)
    if name == "cifar100":
        return {"train": made["train"], "test": made["test"]}
    rows, labels = made["train"]
    files = {f"data_batch_{i + 1}": (rows[20 * i :][:20], labels[20 * i :][:20]) for i in range(5)}
    return {**files, "test_batch": made["test"]}


def write(root, name, version):
    """Writes the folder and gives its path."""
    folder = root / FOLDERS[name, version]
    folder.mkdir(parents=True)
    names = class_names(name)
    for stem, (rows, labels) in batches(name).items():
        coarse = labels // 5
        if version == "binary":
            before = (labels,) if name == "cifar10" else (coarse, labels)
            head = np.stack(before, 1).astype(np.uint8)
            (folder / f"{stem}.bin").write_bytes(np.concatenate([head, rows], 1).tobytes())
        else:
            batch = {b"batch_label": stem.encode(), b"data": rows}
            if name == "cifar10":
                batch[b"labels"] = labels.tolist()
            else:
                batch |= {b"fine_labels": labels.tolist(), b"coarse_labels": coarse.tolist()}
            (folder / stem).write_bytes(pickle.dumps(batch, 2))
    if version == "binary":
        file = "batches.meta.txt" if name == "cifar10" else "fine_label_names.txt"
        (folder / file).write_text("\n".join(names) + "\n\n")
        if name == "cifar100":
            (folder / "coarse_label_names.txt").write_text("\n".join(COARSE) + "\n\n")
    else:
        file, key = ("batches.meta", b"label_names")
        if name == "cifar100":
            file, key = ("meta", b"fine_label_names")
        meta = {key: [n.encode() for n in names]}
        if name == "cifar100":
            meta[b"coarse_label_names"] = [n.encode() for n in COARSE]
        (folder / file).write_bytes(pickle.dumps(meta, 2))
    return folder


def archive(folder, path):
    with tarfile.open(path, "w:gz") as tar:
        tar.add(folder, folder.name)
    return path


def check(parts, name):
    for part, data in (("train", parts.train), ("test", parts.test)):
        rows, labels = arrays(name)[part]
        # A pixel's colours lie 1024 apart in a row: checked one by one, not by a transpose.
        for n, y, x, c in [(0, 0, 0, 0), (3, 5, 7, 1), (-1, 31, 30, 2), (7, 31, 0, 0)]:
            assert data.images[n, y, x, c] == rows[n, 1024 * c + 32 * y + x]
        assert data.images.shape == (len(rows), 32, 32, 3)
        assert int(data.images.sum()) == int(rows.sum())
        np.testing.assert_array_equal(data.labels, labels)
        assert data.class_names == tuple(class_names(name))


@pytest.mark.parametrize(("name", "version"), EVERY)
@pytest.mark.parametrize("where", ["parent", "folder", "renamed"])
def test_the_published_folder_is_read(tmp_path, name, version, where):
    folder = write(tmp_path, name, version)
    if where == "renamed":
        folder = folder.rename(tmp_path / "mine")
    data_dir = tmp_path if where == "parent" else folder
    check(load(name, data_dir, validation=None), name)


@pytest.mark.parametrize(("name", "version"), EVERY)
@pytest.mark.parametrize("where", ["parent", "file", "renamed"])
def test_the_published_archive_is_read_where_it_lies(tmp_path, name, version, where):
    folder = write(tmp_path / "made", name, version)
    place = tmp_path / "data"
    place.mkdir()
    path = archive(folder, place / ARCHIVES[name, version])
    if where == "renamed":
        path = path.rename(place / "download.tgz")
    check(load(name, place if where == "parent" else path, validation=None), name)
    assert [p.name for p in place.iterdir()] == [path.name]


@pytest.mark.parametrize(("name", "version"), EVERY)
def test_a_missing_file_is_named(tmp_path, name, version):
    folder = write(tmp_path, name, version)
    for file in ["test_batch.bin", "test_batch", "test.bin", "test"]:
        (folder / file).unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError, match="lacks test"):
        load(name, tmp_path)


def test_an_empty_folder_is_refused_with_the_names_of_the_files(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load("cifar10", tmp_path)
    for name in ("cifar-10-batches-py", "cifar-10-binary.tar.gz", "data_batch_1.bin"):
        assert name in str(caught.value)


def test_an_archive_of_the_other_data_set_is_refused(tmp_path):
    path = archive(write(tmp_path, "cifar10", "python"), tmp_path / "x.tar.gz")
    with pytest.raises(ValueError, match=r"x\.tar\.gz holds no file of cifar100"):
        load("cifar100", path)


def edited(rows_labels, change):
    rows, labels = rows_labels
    batch = {b"data": rows, b"labels": labels.tolist()}
    return pickle.dumps(change(batch), 2)


@pytest.mark.parametrize(
    ("version", "file", "change", "message"),
    [
        ("binary", "data_batch_2.bin", lambda d: d[:-100], "records of 3073 bytes"),
        ("binary", "data_batch_2.bin", lambda d: d[: -3073 * 3], "17 images and 20"),
        ("binary", "data_batch_2.bin", lambda d: b"", "got 0 bytes"),
        ("binary", "test_batch.bin", lambda d: b"\x0a" + d[1:], "0..9, got 0..10"),
        ("binary", "batches.meta.txt", lambda d: d[:20], "10 class names of cifar10, got 2"),
        ("python", "data_batch_2", lambda d: d[:-500], "truncated"),
        ("python", "data_batch_2", lambda d: b"<html>", "no pickle of a CIFAR batch"),
        ("python", "data_batch_2", lambda d: pickle.dumps([1], 2), "'labels'.* got list"),
        ("python", "batches.meta", lambda d: pickle.dumps({b"x": 1}, 2), "got 0"),
    ],
)
def test_a_damaged_file_or_one_of_another_data_set_is_named(
    tmp_path, version, file, change, message
):
    path = write(tmp_path, "cifar10", version) / file
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        load("cifar10", tmp_path)
    assert file in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: {**b, b"labels": b[b"labels"][:-1]}, "20 images and 19 labels"),
        (lambda b: {**b, b"labels": [10, *b[b"labels"][1:]]}, "0..9, got 0..10"),
        (lambda b: {**b, b"labels": [-7, *b[b"labels"][1:]]}, "0..9, got -1"),
        (lambda b: {**b, b"labels": [2**70, *b[b"labels"][1:]]}, "0..9"),
        (lambda b: {**b, b"labels": [0.5, *b[b"labels"][1:]]}, "whole numbers"),
        (lambda b: {**b, b"data": b[b"data"][:, :3071]}, "3072"),
        (lambda b: {b"data": b[b"data"], b"fine_labels": b[b"labels"]}, "fine_labels"),
    ],
)
def test_an_invalid_batch_is_named(tmp_path, change, message):
    folder = write(tmp_path, "cifar10", "python")
    batch = edited(batches("cifar10")["data_batch_4"], change)
    (folder / "data_batch_4").write_bytes(batch)
    with pytest.raises(ValueError, match=message) as caught:
        load("cifar10", tmp_path)
    assert str(folder / "data_batch_4") in str(caught.value)


class Exploit:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return exec, (f"open({str(self.target)!r}, 'w')",)


@pytest.mark.parametrize("as_archive", [False, True])
def test_a_malicious_batch_is_refused_and_nothing_runs(tmp_path, as_archive):
    target = tmp_path / "ran"
    folder = write(tmp_path / "made", "cifar10", "python")
    (folder / "test_batch").write_bytes(pickle.dumps({b"data": Exploit(target)}, 2))
    place = archive(folder, tmp_path / "cifar-10-python.tar.gz") if as_archive else folder
    with pytest.raises(ValueError, match=r"test_batch: the pickle asks for __builtin__\.exec"):
        load("cifar10", place)
    assert not target.exists()


DAMAGE = [
    lambda d: d[: len(d) // 2],
    lambda d: d[:-8] + bytes(4) + d[-4:],  # the checksum at the end of the gzip stream
    lambda d: d[:-4] + bytes(4),  # the length there
    lambda d: d[:-8],
]


@pytest.mark.parametrize("change", DAMAGE)
def test_a_damaged_archive_is_named(tmp_path, change):
    path = archive(write(tmp_path / "m", "cifar10", "binary"), tmp_path / "cifar-10-binary.tar.gz")
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=r"cifar-10-binary\.tar\.gz is truncated, damaged"):
        load("cifar10", tmp_path)


def test_an_archive_that_was_unpacked_but_kept_its_name_is_read(tmp_path):
    path = archive(write(tmp_path / "m", "cifar10", "binary"), tmp_path / "cifar-10-binary.tar.gz")
    path.write_bytes(gzip.decompress(path.read_bytes()))
    check(load("cifar10", tmp_path, validation=None), "cifar10")


def test_a_file_that_is_no_archive_is_named(tmp_path):
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_text("<html>404</html>")
    with pytest.raises(ValueError, match="no tar archive"):
        load("cifar10", path)


@pytest.mark.parametrize(("name", "version"), EVERY)
def test_parts_are_marked(tmp_path, name, version, check_marks):
    write(tmp_path, name, version)
    check_marks(load(name, tmp_path, validation=0.5))


@pytest.mark.parametrize("version", ["binary", "python"])
@pytest.mark.parametrize("packed", [False, True])
def test_the_coarse_labels_of_cifar100(tmp_path, version, packed):
    data_dir = write(tmp_path, "cifar100", version)
    if packed:
        data_dir = archive(data_dir, tmp_path / ARCHIVES["cifar100", version])
    parts = load("cifar100:coarse", data_dir, validation=None)
    fine = load("cifar100:fine", data_dir, validation=None)
    check(fine, "cifar100")
    assert parts.train.class_names == tuple(COARSE)
    assert (parts.train.name, fine.train.name) == ("cifar100_coarse", "cifar100")
    for part in ("train", "test"):
        np.testing.assert_array_equal(getattr(parts, part).labels, arrays("cifar100")[part][1] // 5)
        np.testing.assert_array_equal(getattr(parts, part).images, getattr(fine, part).images)


def test_other_labels_are_unknown(tmp_path):
    for name in ("cifar100:corse", "cifar10:coarse"):
        with pytest.raises(ValueError, match=rf"unknown data set '{name}'.*cifar100\[:coarse\]"):
            load(name, tmp_path)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    path = archive(write(tmp_path / "in", "cifar10", "binary"), tmp_path / "cifar-10-binary.tar.gz")
    monkeypatch.setattr(limits, "unpacked_bytes", 10_000)
    assert len(load("cifar10", path, validation=None).train) == 100  # ten times its own are allowed
    with gzip.open(path, "ab") as file:
        file.write(bytes(10**8))
    with pytest.raises(ValueError, match=r"tar\.gz unpacks to too many bytes.*raise cnnlab.limits"):
        load("cifar10", path)
    monkeypatch.undo()
    assert len(load("cifar10", path, validation=None).train) == 100


def test_a_member_that_is_mostly_holes_is_refused(tmp_path):
    # In the old sparse format of GNU: the header says how large the file is, none of it is there.
    member = tarfile.TarInfo("data_batch_1.bin")
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[483:495] = b"%011o\0" % (2**36 - 1)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "cifar-10-binary.tar"
    path.write_bytes(bytes(header) + bytes(1024))
    with tarfile.open(path) as tar:
        assert tar.getmembers()[0].size == 2**36 - 1
    with pytest.raises(ValueError, match=r"binary\.tar would unpack to 68719476735 bytes"):
        load("cifar10", path)
