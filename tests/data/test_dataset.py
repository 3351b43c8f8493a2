"""The Dataset value: its checks, its statistics, and lazy images."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cnnlab.data import (
    Dataset,
    Features,
    LazyImages,
    Splits,
    Statistics,
    compute_statistics,
    fingerprint,
)
from cnnlab.data.dataset import materialise


class Counted(LazyImages):
    """Lazy images that remember which were read."""

    def __init__(self, images):
        self.images = images
        self.shape = images.shape
        self.seen = []

    def read(self, index):
        self.seen.append(index)
        return self.images[index]

    def identity(self, indices):
        return (f"image {i}" for i in indices)


def images(n=12, height=4, width=5, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, channels), np.uint8)


def dataset(n=12, classes=3, lazy=False, **kwargs):
    pixels = images(n, **kwargs)
    labels = np.arange(n, dtype=np.int32) % classes
    names = tuple("abcdefgh"[:classes])
    return Dataset(Counted(pixels) if lazy else pixels, labels, names, "made")


def test_properties():
    data = dataset()
    assert (len(data), data.image_shape, data.num_classes) == (12, (4, 5, 3), 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": images().astype(np.float32)}, "uint8, got float32"),
        ({"images": images()[..., 0]}, r"images\[..., None\]"),
        ({"images": images().tolist()}, "got list"),
        ({"images": images()[:0], "labels": np.zeros(0, np.int32)}, "at least one image"),
        ({"labels": np.zeros(12, np.int64)}, "int32 array .* got int64"),
        ({"labels": np.zeros((12, 1), np.int32)}, r"shape \(12, 1\)"),
        ({"labels": np.zeros(11, np.int32)}, "12 images and 11 labels"),
        ({"labels": np.full(12, 3, np.int32)}, r"0..2 .* got 3 for example 0 and 11 more"),
        ({"labels": np.full(12, -1, np.int32)}, "got -1"),
        ({"class_names": ("a", "b", "a")}, "different names"),
        ({"statistics": Statistics((1.0,), (1.0,))}, "3 channels"),
    ],
)
def test_fields_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(dataset(), **change)


def test_a_label_of_the_highest_class_is_accepted():
    data = dataclasses.replace(dataset(), labels=np.full(12, 2, np.int32))
    assert data.labels.max() == 2


def test_statistics_are_those_of_numpy():
    data = dataset(n=50)
    statistics = compute_statistics(data)
    exact = data.images.astype(np.float64)
    np.testing.assert_allclose(statistics.mean, exact.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(statistics.std, exact.std((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(statistics.mean_image, exact.mean(0), rtol=1e-6)
    assert statistics.mean_image.dtype == np.float32
    assert statistics.examples == 50


def test_statistics_do_not_overflow_where_there_are_many_bright_images():
    # 70,000 images of one pixel: the sum of squares passes 2**32.
    pixels = np.full((70_000, 1, 1, 1), 255, np.uint8)
    pixels[::2] = 253
    data = Dataset(pixels, np.zeros(70_000, np.int32), ("a",), "bright")
    statistics = compute_statistics(data)
    assert statistics.mean == (254.0,)
    assert statistics.std == (1.0,)


def test_a_constant_channel_has_std_one():
    pixels = images()
    pixels[..., 1] = 7
    statistics = compute_statistics(dataclasses.replace(dataset(), images=pixels))
    assert (statistics.mean[1], statistics.std[1]) == (7.0, 1.0)


def test_statistics_compare_without_the_mean_image():
    a = Statistics((1.0,), (2.0,), np.zeros((1, 1, 1), np.float32), 3)
    assert a == dataclasses.replace(a, mean_image=np.ones((1, 1, 1), np.float32))
    assert a != dataclasses.replace(a, mean=(1.5,))


def test_a_std_of_zero_is_refused():
    with pytest.raises(ValueError, match="std > 0"):
        Statistics((1.0,), (0.0,))


@pytest.mark.parametrize("lazy", [False, True])
def test_take_gives_the_examples_in_order_and_keeps_the_statistics(lazy):
    data = dataset(lazy=lazy)
    data = dataclasses.replace(data, statistics=compute_statistics(dataset()))
    part = data.take([5, 0, 5, -1])
    np.testing.assert_array_equal(part.images[:], images()[[5, 0, 5, 11]])
    assert part.labels.tolist() == [2, 0, 2, 2]
    assert part.statistics is data.statistics


@pytest.mark.parametrize(
    ("indices", "error"),
    [([12], IndexError), ([-13], IndexError), ([True, False], TypeError), ([0.5], TypeError)],
)
def test_take_refuses_invalid_indices(indices, error):
    with pytest.raises(error):
        dataset().take(indices)


def test_a_selection_of_a_selection_reads_only_the_selected_images():
    data = dataset(lazy=True)
    part = data.take(np.arange(2, 10)).take([3, 1])
    assert data.images.seen == []
    np.testing.assert_array_equal(part.images[0], images()[5])
    assert data.images.seen == [5]


@pytest.mark.parametrize(
    "index", [3, -1, np.int64(2), slice(2, 9, 3), slice(None), [4, 4, -2], np.array([1, 0])]
)
def test_lazy_images_index_as_an_array_does(index):
    np.testing.assert_array_equal(Counted(images())[index], images()[index])


def test_lazy_images_refuse_an_index_outside():
    with pytest.raises(IndexError):
        Counted(images())[12]


def test_statistics_of_lazy_images_equal_those_in_memory():
    lazy, here = compute_statistics(dataset(lazy=True)), compute_statistics(dataset())
    assert lazy == here
    np.testing.assert_array_equal(lazy.mean_image, here.mean_image)


def test_materialise_keeps_within_the_limit():
    lazy = Counted(images())
    size = images().nbytes
    assert materialise(lazy, size - 1) is lazy
    np.testing.assert_array_equal(materialise(lazy, size), images())


def test_a_memory_map_is_taken_from_lazily(tmp_path: Path):
    path = tmp_path / "images.npy"
    np.save(path, images())
    data = dataclasses.replace(dataset(), images=np.load(path, mmap_mode="r"))
    part = data.take([7, 2])
    assert not isinstance(part.images, np.ndarray)
    np.testing.assert_array_equal(part.images[:], images()[[7, 2]])
    assert fingerprint(part) == fingerprint(data.take([7, 2]))
    assert fingerprint(part) != fingerprint(data.take([7, 3]))


def test_the_fingerprint_is_the_same_everywhere():
    # BLAKE2b (8 bytes) of: shape and names as text, labels as little-endian int32, pixels.
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)
    data = Dataset(pixels, np.array([0, 1], np.int32), ("a", "b"), "x")
    assert fingerprint(data) == "94645de3ebc6bbb8"
    assert fingerprint(dataclasses.replace(data, name="y")) == fingerprint(data)


@pytest.mark.parametrize("lazy", [False, True])
def test_the_fingerprint_tells_data_apart(lazy):
    data = dataset(lazy=lazy)
    others = [
        data.take(np.arange(11)),
        data.take(np.r_[1, 0, 2:12]),
        dataclasses.replace(data, labels=np.roll(data.labels, 1)),
        dataclasses.replace(data, class_names=("a", "b", "x")),
    ]
    prints = [fingerprint(d) for d in [data, *others]]
    assert len(set(prints)) == 5


def test_the_fingerprint_sees_one_changed_pixel():
    pixels = images()
    pixels[11, 3, 4, 2] ^= 1
    changed = dataclasses.replace(dataset(), images=pixels)
    assert fingerprint(changed) != fingerprint(dataset())


def test_features_keep_the_part_and_an_unknown_one_is_refused():
    values = np.zeros((2, 3), np.float32)
    features = Features(values, np.zeros(2, np.int32), ("a",), "made", part="test")
    assert features.take([1]).part == "test"
    assert Splits(features.take([0]), None, features).train.part == "train"
    with pytest.raises(ValueError, match=r"unknown part 'tset'\. Did you mean 'test'"):
        dataclasses.replace(features, part="tset")
