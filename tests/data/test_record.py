"""The record of a run's data: the same images in the same parts, whatever was added since."""

import dataclasses
import zipfile

import numpy as np
import PIL.Image
import pytest

from cnnlab import data, limits
from cnnlab.data.dataset import Dataset, Parts
from cnnlab.data.record import DataChangedError, DataRecord, fingerprints, pixel_fingerprints

CLASSES = ("ant", "bee", "cat")


def pool(count=60, seed=0, class_names=CLASSES):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (count, 3, 3, 1), np.uint8)
    return Dataset(images, (np.arange(count) % 3).astype(np.int32), class_names, "pool")


def save(path, dataset):
    named = {"images": dataset.images, "labels": dataset.labels}
    np.savez(path, **named, class_names=np.array(dataset.class_names))


@pytest.fixture
def splits(tmp_path):
    save(tmp_path / "pool.npz", pool())
    return data.load("npz", tmp_path / "pool.npz")


def assert_same(actual, wanted):
    for part in ("train", "validation", "test"):
        ours, theirs = getattr(actual, part), getattr(wanted, part)
        np.testing.assert_array_equal(ours.images[:], theirs.images[:])
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        assert ours.class_names == theirs.class_names
        assert ours.statistics == theirs.statistics
        assert data.fingerprint(ours) == data.fingerprint(theirs)
        np.testing.assert_array_equal(ours.statistics.mean_image, theirs.statistics.mean_image)


def join(*datasets):
    images = np.concatenate([each.images for each in datasets])
    labels = np.concatenate([each.labels for each in datasets])
    return dataclasses.replace(datasets[0], images=images, labels=labels)


def test_a_record_comes_back_from_its_file(splits, tmp_path):
    record = DataRecord.of(splits)
    path = tmp_path / "data.npz"
    path.write_bytes(record.write())
    again = DataRecord.read(path)
    assert again.class_names == CLASSES and again.image_shape == (3, 3, 1)
    assert again.statistics == splits.train.statistics and again.notes == splits.notes
    assert again.statistics.examples == len(splits.train)
    assert again.has_images_of(record) and record.has_images_of(again)
    assert_same(again.find(Parts(pool())), splits)


def test_images_that_were_added_are_left_out(splits):
    more = join(pool(30, seed=1), pool(), pool(30, seed=2))
    assert_same(DataRecord.of(splits).find(Parts(more)), splits)
    assert len(data.load("synthetic:90:6x6x1:3").train) != len(splits.train)


def test_classes_in_another_order_are_known_by_their_names(splits):
    moved = dataclasses.replace(
        pool(), labels=((pool().labels + 2) % 3).astype(np.int32), class_names=("bee", "cat", "ant")
    )
    names = np.array(moved.class_names)[moved.labels]
    np.testing.assert_array_equal(names, np.array(CLASSES)[pool().labels])
    assert_same(DataRecord.of(splits).find(Parts(moved)), splits)


def test_images_that_moved_to_a_test_folder_are_found(splits):
    everything = pool()
    parts = Parts(everything.take(np.arange(0, 40)), everything.take(np.arange(40, 60)))
    assert_same(DataRecord.of(splits).find(parts), splits)


@pytest.mark.parametrize("change", ["gone", "pixel", "class"])
def test_what_is_not_as_it_was_is_refused_and_counted(splits, change):
    now = pool()
    if change == "gone":
        now = now.take(np.arange(1, 60))
    elif change == "pixel":
        now.images[0, 0, 0, 0] ^= 1
    else:
        now.labels[0] = 1
    with pytest.raises(DataChangedError, match=r"changed: 1 of its \d+ (training|test|valid)"):
        DataRecord.of(splits).find(Parts(now))


def test_of_twins_each_is_used_once(splits):
    twin = join(pool(), pool().take([0, 1]))
    with_twins = DataRecord.of(
        dataclasses.replace(splits, train=join(splits.train, splits.train.take([0])))
    )
    with pytest.raises(DataChangedError, match="1 of its"):
        with_twins.find(Parts(pool()))
    again = DataRecord.of(splits).find(Parts(twin))
    assert_same(again, splits)


def test_a_training_on_some_of_the_images_has_a_record_of_these(splits):
    record = DataRecord.of(splits)
    assert record.trained_on(splits.train) is record
    fewer = dataclasses.replace(splits.train.take([5, 3]), statistics=splits.train.statistics)
    again = record.trained_on(fewer).find(Parts(pool()))
    np.testing.assert_array_equal(again.train.images, fewer.images)
    np.testing.assert_array_equal(again.test.images, splits.test.images)
    other = dataclasses.replace(splits.train, class_names=("x", "y", "z"))
    assert record.trained_on(other) is None
    larger = np.zeros((2, 5, 5, 1), np.uint8)
    assert record.trained_on(dataclasses.replace(fewer, images=larger)) is None


def test_without_images_it_has_all_but_the_pixels(splits):
    seen = DataRecord.of(splits).without_images()
    np.testing.assert_array_equal(seen.test.labels, splits.test.labels)
    assert seen.train.statistics == splits.train.statistics
    assert len(seen.train) == len(splits.train) and seen.train.image_shape == (3, 3, 1)
    with pytest.raises(ValueError, match="were not read: load the run with its data"):
        seen.test.images[0]


def make_folder(root, count=12, size=4, start=0):
    generator = np.random.default_rng(start)
    for name in ("ant", "bee"):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(start, start + count):
            pixels = generator.integers(0, 256, (size, size, 3), np.uint8)
            PIL.Image.fromarray(pixels).save(root / name / f"{i:03}.png")


@pytest.mark.parametrize("limit", [0, 2**30])
def test_a_folder_s_images_are_known_by_files_or_by_pixels(tmp_path, limit):
    root = tmp_path / "photos"
    make_folder(root)
    splits = data.load("folder", root, memory_limit=limit)
    record = DataRecord.of(splits)
    assert record.by_file == (limit == 0)
    make_folder(root, start=100)
    for now in (0, 2**30) if limit else (0,):
        published = data.read_parts("folder", root, memory_limit=now)
        assert len(published.train) == 48
        assert_same(record.find(published), splits)
    (root / "ant" / "003.png").unlink()
    with pytest.raises(DataChangedError, match="1 of its"):
        record.find(data.read_parts("folder", root, memory_limit=limit))


def test_fingerprints_of_files_do_not_depend_on_the_size_shown(tmp_path):
    make_folder(tmp_path / "p")
    small, large = (
        data.read_parts("folder", tmp_path / "p", image_size=size, memory_limit=0).train.images
        for size in (3, 4)
    )
    np.testing.assert_array_equal(fingerprints(small), fingerprints(large))
    assert len(set(fingerprints(small).tolist())) == 24
    assert not np.intersect1d(pixel_fingerprints(small), pixel_fingerprints(large)).size
    np.testing.assert_array_equal(fingerprints(large[:]), pixel_fingerprints(large))


def test_a_damaged_record_is_named(splits, tmp_path):
    path = tmp_path / "data.npz"
    whole = DataRecord.of(splits).write()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"data\.npz is damaged.*Bring it back"):
        DataRecord.read(path)
    flipped = bytearray(whole)
    flipped[
        whole.index(
            np.ascontiguousarray(DataRecord.of(splits).parts["test"].fingerprints).tobytes()
        )
    ] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match="is damaged"):
        DataRecord.read(path)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1152921504606846976,)}",
        "(" * 20_000,  # NumPy says so in several lines
        "{'descr': '|u1, ",
    ],
)
def test_a_hostile_record_is_named_in_one_line(splits, tmp_path, header):
    text = header.ljust(-(-(len(header) + 11) // 64) * 64 - 11).encode() + b"\n"
    npy = b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text
    path = tmp_path / "data.npz"
    path.write_bytes(DataRecord.of(splits).write())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("extra.npy", npy)
    for read in (DataRecord.read, lambda p: DataRecord.read(p, p.read_bytes())):
        with pytest.raises(ValueError, match=r"data\.npz is damaged") as error:
            read(path)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 700


def test_a_record_that_unpacks_to_too_much_is_refused(splits, tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "unpacked_bytes", 10**6)
    path = tmp_path / "data.npz"
    path.write_bytes(DataRecord.of(splits).write())
    DataRecord.read(path)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("extra.npy", bytes(10**7))
    for read in (DataRecord.read, lambda p: DataRecord.read(p, p.read_bytes())):
        with pytest.raises(ValueError, match=r"data\.npz would unpack to 1\d{7} bytes"):
            read(path)


def test_a_record_of_other_fields_is_named(splits, tmp_path):
    path = tmp_path / "data.npz"
    for about in (b"[]", b"null", b'{"name": 1}', b"\xff"):
        np.savez(path, about=np.frombuffer(about, np.uint8))
        with pytest.raises(ValueError, match=r"data\.npz is damaged"):
            DataRecord.read(path)
