"""Stratified splits, folds and subsets."""

import dataclasses
import itertools

import numpy as np
import pytest

from cnnlab.data import Dataset, Splits, compute_statistics, fingerprint, folds, load, split, subset


def dataset(counts=(50, 30, 20)):
    """Each image's first two bytes are its number, so that examples can be followed."""
    labels = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    labels = np.random.default_rng(1).permutation(labels)
    pixels = np.zeros((len(labels), 1, 2, 1), np.uint8)
    pixels[:, 0, 0, 0], pixels[:, 0, 1, 0] = np.divmod(np.arange(len(labels)), 256)
    return Dataset(pixels, labels, tuple("abcdefghij"[: len(counts)]), "made")


def numbers(data):
    return (data.images[:, 0, 0, 0].astype(int) * 256 + data.images[:, 0, 1, 0]).tolist()


def counts(data):
    return np.bincount(data.labels, minlength=data.num_classes).tolist()


def test_a_split_is_a_partition_with_the_shares_of_the_classes():
    data = dataset()
    rest, part = split(data, 0.2, seed=0)
    assert sorted(numbers(rest) + numbers(part)) == list(range(100))
    assert counts(part) == [10, 6, 4]
    for piece in (rest, part):
        assert numbers(piece) == sorted(numbers(piece))
        np.testing.assert_array_equal(piece.labels, data.labels[numbers(piece)])


@pytest.mark.parametrize("size", [1, 7, 33, 97, 0.01, 0.123, 0.5])
def test_the_size_is_exact(size):
    rest, part = split(dataset(), size)
    expected = size if isinstance(size, int) else round(size * 100)
    assert (len(rest), len(part)) == (100 - expected, expected)


def test_the_seed_decides():
    a, b, c = (numbers(split(dataset(), 0.2, seed)[1]) for seed in (3, 3, 4))
    assert a == b != c


def test_a_larger_part_contains_a_smaller_one():
    small, large = (set(numbers(split(dataset(), size, seed=2)[1])) for size in (0.1, 0.2))
    assert small < large


def test_a_rare_class_is_on_both_sides():
    rest, part = split(dataset((90, 2)), 0.05)
    assert counts(part) == [4, 1]
    assert counts(rest) == [86, 1]


def test_the_rest_keeps_the_only_example_of_a_class():
    rest, part = split(dataset((20, 1)), 0.5)
    assert counts(rest) == [10, 1]
    assert counts(part) == [10, 0]


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0, "at least one example"),
        (0.0, "at least one example"),
        (0.004, "rounds to none"),
        (0.999, "rounds to 100"),
        (100, "must leave some"),
        (1.0, r"in \(0, 1\)"),
        (-0.1, r"in \(0, 1\)"),
        (1.5, r"in \(0, 1\)"),
        (-3, "at least one example"),
        (float("nan"), r"in \(0, 1\)"),
        (True, "fraction or a number"),
        ("0.1", "fraction or a number"),
        (98, "leave a class without any; at most 97"),
    ],
)
def test_an_invalid_size_is_refused(size, message):
    with pytest.raises(ValueError, match=message):
        split(dataset(), size)


def test_statistics_are_of_the_rest_after_a_split():
    data = dataset()
    data = dataclasses.replace(data, statistics=compute_statistics(data))
    rest, part = split(data, 0.3)
    assert rest.statistics == part.statistics == compute_statistics(rest)
    assert rest.statistics != data.statistics


def test_folds_cover_each_example_once_and_differ_by_one_at_most():
    data = dataset((51, 30, 22))
    pairs = folds(data, 5, seed=1)
    assert sorted(n for _, held in pairs for n in numbers(held)) == list(range(103))
    assert {len(held) for _, held in pairs} == {20, 21}
    for train, held in pairs:
        assert sorted(numbers(train) + numbers(held)) == list(range(103))
        assert all(abs(c - n / 5) < 1 for c, n in zip(counts(held), (51, 30, 22), strict=True))


def test_each_fold_has_the_statistics_of_its_training_part():
    data = dataset()
    data = dataclasses.replace(data, statistics=compute_statistics(data))
    for train, held in folds(data, 3):
        assert train.statistics == held.statistics == compute_statistics(train)


def test_folds_need_enough_of_every_class():
    with pytest.raises(ValueError, match="got 3 of class 'b'"):
        folds(dataset((50, 3)), 4)
    with pytest.raises(ValueError, match="at least 2 folds"):
        folds(dataset(), 1)


def test_per_class_takes_as_many_of_each():
    few = subset(dataset(), per_class=4, seed=5)
    assert counts(few) == [4, 4, 4]
    assert len(set(numbers(few))) == 12
    assert set(numbers(few)) < set(numbers(subset(dataset(), per_class=9, seed=5)))


def test_per_class_names_the_class_that_has_too_few():
    with pytest.raises(ValueError, match="class 'c' has 20"):
        subset(dataset(), per_class=21)


def test_a_fraction_keeps_the_shares():
    assert counts(subset(dataset(), fraction=0.3)) == [15, 9, 6]
    assert numbers(subset(dataset(), fraction=1.0)) == list(range(100))


def test_classes_are_renumbered_in_the_order_of_the_argument():
    data = dataset()
    part = subset(data, classes=["c", 0])
    assert part.class_names == ("c", "a")
    old = data.labels[numbers(part)]
    np.testing.assert_array_equal(part.labels, np.where(old == 2, 0, 1))
    assert sorted(old.tolist()) == [0] * 50 + [2] * 20


def test_a_number_as_text_is_a_name_before_it_is_an_index():
    data = dataclasses.replace(dataset(), class_names=("2", "x", "y"))
    assert subset(data, classes=["2", "1"]).class_names == ("2", "x")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["airplan"], "Did you mean 'airplane'"),
        (["zzz"], "airplane, ship, dog"),
        ([3], "classes 0 to 2, got 3"),
        ([-1], "classes 0 to 2, got -1"),
        (["dog", 2], "'dog' twice"),
        ([], "at least one class"),
        ("dog", "sequence of names"),
    ],
)
def test_invalid_classes_are_refused(classes, message):
    data = dataclasses.replace(dataset(), class_names=("airplane", "ship", "dog"))
    with pytest.raises(ValueError, match=message):
        subset(data, classes=classes)


@pytest.mark.parametrize(
    "sizes",
    [{"per_class": 1, "fraction": 0.5}, {"per_class": 0}, {"fraction": 0}, {"fraction": 1.1}],
)
def test_an_invalid_subset_is_refused(sizes):
    with pytest.raises(ValueError):
        subset(dataset(), **sizes)


def test_a_subset_of_none_is_refused():
    with pytest.raises(ValueError, match="is none"):
        subset(dataset(), fraction=0.001)


def test_statistics_are_those_of_the_subset():
    data = dataset()
    data = dataclasses.replace(data, statistics=compute_statistics(data))
    part = subset(data, per_class=5)
    assert part.statistics == compute_statistics(part)


def test_splits_mark_copies_of_their_parts():
    data = dataset()
    splits = Splits(data, data, data)
    marks = [part.part for part in (splits.train, splits.validation, splits.test)]
    assert marks == ["train", "validation", "test"]
    assert data.part is None
    assert splits.test.images is data.images
    assert Splits(splits.test, None, splits.train).train.part == "train"


def test_examples_taken_from_a_part_are_of_that_part():
    test = Splits(dataset(), None, dataset()).test
    taken = [
        test.take([1, 0]),
        subset(test, per_class=1),
        subset(test, fraction=0.1),
        subset(test, classes=["c", "a"]),
        *split(test, 0.5),
        *itertools.chain(*folds(test, 2)),
        dataclasses.replace(test, name="renamed"),
    ]
    assert {part.part for part in taken} == {"test"}


def test_a_test_part_cannot_become_the_validation_part_unless_its_mark_is_removed():
    splits = load("synthetic:60:6x6x1:3")
    with pytest.raises(ValueError, match=r"test part must not be the validation part.*part=None"):
        dataclasses.replace(splits, validation=splits.test)
    with pytest.raises(ValueError, match="must not be the validation part"):
        Splits(splits.train, splits.test.take([0, 1]), splits.validation)
    unmarked = dataclasses.replace(splits.test, part=None)
    assert Splits(splits.train, unmarked, splits.validation).validation.part == "validation"


def test_the_part_does_not_enter_the_fingerprint():
    data = dataset()
    marked = [dataclasses.replace(data, part=part) for part in ("train", "validation", "test")]
    assert {fingerprint(part) for part in marked} == {fingerprint(data)}
