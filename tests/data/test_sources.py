"""Loading by name: digits, synthetic data, and how the parts are made."""

import subprocess
import sys

import numpy as np
import pytest

from cnnlab.data import compute_statistics, fingerprint, load, names, split


def images_of(*datasets):
    return np.concatenate([d.images for d in datasets])


def rows(images):
    return sorted(image.tobytes() for image in images)


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    source = load_digits()
    parts = load("digits", validation=None)
    everything = images_of(parts.train, parts.test)
    assert everything.shape == (1797, 8, 8, 1)
    assert (everything.min(), everything.max()) == (0, 255)
    sixteenths = np.rint(everything[..., 0] * (16 / 255)).astype(np.uint8)
    assert rows(sixteenths) == rows(source.images.astype(np.uint8))
    assert np.bincount(parts.train.labels).sum() == len(parts.train)
    assert parts.train.class_names == tuple("0123456789")


def test_the_parts_of_digits_are_disjoint_stratified_and_seeded():
    parts = load("digits", validation=0.1, test=0.2, split_seed=0)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (1294, 144, 359)
    whole = images_of(parts.train, parts.validation, parts.test)
    assert len(whole) == 1797
    assert rows(whole) == rows(images_of(*_two(load("digits", validation=None))))
    shares = np.bincount(parts.test.labels) / len(parts.test)
    np.testing.assert_allclose(shares, 0.1, atol=0.01)
    assert fingerprint(load("digits").test) == fingerprint(parts.test)
    assert fingerprint(load("digits", split_seed=1).test) != fingerprint(parts.test)


def _two(parts):
    return parts.train, parts.test


def test_validation_is_taken_from_training_and_test_stays():
    with_it, without = load("digits", validation=200), load("digits", validation=None)
    assert len(with_it.validation) == 200
    assert without.validation is None
    assert fingerprint(with_it.test) == fingerprint(without.test)
    assert rows(images_of(with_it.train, with_it.validation)) == rows(without.train.images)


def test_statistics_are_those_of_the_final_training_part():
    parts = load("digits", per_class=20, validation=0.25)
    assert len(parts.train) == 150
    expected = compute_statistics(parts.train)
    assert expected.examples == 150
    for part in (parts.train, parts.validation, parts.test):
        assert part.statistics == expected
    np.testing.assert_allclose(expected.mean[0], parts.train.images.mean(), rtol=1e-12)


def test_a_subset_leaves_the_test_part_whole():
    small, whole = load("digits", per_class=10), load("digits")
    assert fingerprint(small.test) == fingerprint(whole.test)
    assert np.bincount(small.train.labels).tolist() == [9] * 10
    assert np.bincount(small.validation.labels).tolist() == [1] * 10
    assert "10 a class" in small.notes
    assert len(load("digits", fraction=0.5, validation=None).train) == 719


def test_classes_apply_to_every_part():
    parts, whole = load("digits", classes=["7", 1]), load("digits")
    for part, full in zip(_two(parts), _two(whole), strict=True):
        assert part.class_names == ("7", "1")
        assert set(part.labels.tolist()) == {0, 1}
        if part is parts.test:
            np.testing.assert_array_equal(
                part.labels, [[7, 1].index(k) for k in full.labels if k in (1, 7)]
            )


@pytest.mark.parametrize("size", [0, 0.0, 0.0001, 1.0, 10**6, -1])
def test_an_invalid_size_of_the_validation_part_is_refused(size):
    with pytest.raises(ValueError, match="the validation part must"):
        load("digits", validation=size)


@pytest.mark.parametrize("size", [0, 0.0, 1.0, 1797])
def test_an_invalid_size_of_the_test_part_is_refused(size):
    with pytest.raises(ValueError, match="the test part must"):
        load("digits", test=size)


def test_a_validation_part_without_some_class_is_refused():
    with pytest.raises(ValueError, match=r"empty class.*the validation part.*its 5 none"):
        load("digits", validation=5)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="split_seed must be at least 0"):
        load("digits", split_seed=-1)


def test_notes_describe_how_the_parts_were_made():
    notes = load("digits", validation=100).notes
    assert "test: 20 % of all, stratified, seed 0" in notes
    assert "validation: 100 examples of training" in notes
    assert "\n" not in notes


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cifar", "cifar10"),
        ("Fashion-MNIST", "fashion_mnist"),
        ("digit", "digits"),
        ("MNIST", "mnist"),
        ("digits:3", "digits"),
        ("imagenet", "tfds:NAME"),
        ("", "digits"),
    ],
)
def test_an_unknown_name_gets_the_nearest(name, hint):
    with pytest.raises(ValueError, match="unknown data set") as caught:
        load(name)
    assert hint in str(caught.value)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100", "folder", "npz"])
def test_a_missing_data_dir_is_asked_for(name):
    with pytest.raises(ValueError, match=r"pass data_dir \(--data-dir\)"):
        load(name)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load(name, "/nowhere/at/all")


def test_image_size_is_for_folders():
    with pytest.raises(ValueError, match="image folders only"):
        load("digits", image_size=16)


def test_names_can_all_be_asked_for():
    assert {"digits", "synthetic", "mnist", "cifar100", "folder", "npz", "tfds"} <= set(names())


def test_synthetic_data_are_the_same_every_time():
    one, two = load("synthetic"), load("synthetic", "/nowhere")
    assert fingerprint(one.train) == fingerprint(two.train)
    assert (len(one.train), len(one.validation), len(one.test)) == (900, 100, 200)
    assert one.train.image_shape == (16, 16, 3)


def test_synthetic_data_have_the_size_of_their_name():
    parts = load("synthetic:21:5x7x2:4", validation=None)
    assert parts.train.images.shape == (21, 5, 7, 2)
    assert sorted(np.bincount(parts.train.labels).tolist()) == [5, 5, 5, 6]
    assert not np.array_equal(parts.train.images[:4], parts.test.images[:4])


@pytest.mark.parametrize("options", ["x", "100:8x8", "5", "100:0x8x1", "-3", "100:8x8x1:0"])
def test_invalid_synthetic_options_are_refused(options):
    with pytest.raises(ValueError, match="synthetic data"):
        load(f"synthetic:{options}")


def test_synthetic_data_can_be_learned_but_not_from_one_pixel():
    parts = load("synthetic", validation=None)

    def flat(data):
        return data.images.reshape(len(data), -1) / 255.0

    centres = np.stack([flat(parts.train)[parts.train.labels == k].mean(0) for k in range(10)])
    distances = ((flat(parts.test)[:, None] - centres) ** 2).sum(-1)
    assert (distances.argmin(1) == parts.test.labels).mean() > 0.9
    pixel = distances * 0 + (flat(parts.test)[:, None, 0] - centres[None, :, 0]) ** 2
    assert (pixel.argmin(1) == parts.test.labels).mean() < 0.5


def test_importing_the_data_package_imports_no_slow_library():
    code = (
        "import sys, cnnlab.data; "
        "print([m for m in ('jax', 'sklearn', 'tensorflow_datasets', 'PIL', 'grain') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_split_of_a_loaded_part_needs_no_more():
    rest, part = split(load("digits").train, 0.5)
    assert rest.statistics == part.statistics == compute_statistics(rest)


@pytest.mark.parametrize("validation", [0.1, None])
@pytest.mark.parametrize("name", ["digits", "synthetic:60:6x6x1:3"])
def test_parts_are_marked(name, validation, check_marks):
    check_marks(load(name, validation=validation))


def test_smaller_parts_are_marked_too(check_marks):
    check_marks(load("digits", classes=["7", 1], per_class=20))


@pytest.mark.parametrize(("per_class", "validation"), [(1, 0.1), (1, 1), (1, 0.01), (2, 0.1)])
def test_too_few_examples_for_a_validation_part_say_what_to_do(per_class, validation):
    with pytest.raises(ValueError, match=r"--validation None") as caught:
        load("digits", per_class=per_class, validation=validation)
    if per_class == 1:
        assert "10 training examples of 10 classes are there to split it off" in str(caught.value)
    assert len(load("digits", per_class=per_class, validation=None).train) == 10 * per_class


@pytest.mark.parametrize("name", ["digits", "synthetic:60:6x6x1:3"])
def test_a_single_class_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"at least 2 classes, got only .*1'\. Name another one"):
        load(name, classes=[1])
    np.savez(
        tmp_path / "d.npz", images=load("digits").train.images, labels=np.zeros(1294, np.int64)
    )
    with pytest.raises(ValueError, match="d: there must be at least 2 classes, got only '0'"):
        load("npz", tmp_path / "d.npz")
