"""Labels in the order of a network's classes."""

import numpy as np
import pytest

from cnnlab.data import Dataset
from cnnlab.studies.class_names import in_order_of


def dataset(names, labels):
    images = np.zeros((len(labels), 2, 2, 1), np.uint8)
    targets = np.eye(len(names), dtype=np.float32)[labels]
    return Dataset(images, np.array(labels, np.int32), names, "pets", targets=targets)


def test_labels_are_reordered_by_name():
    given = dataset(("b", "c", "a"), [0, 1, 2, 0])
    actual = in_order_of(given, ("a", "b", "c"), "the network")
    assert actual.class_names == ("a", "b", "c")
    assert [given.class_names[i] for i in given.labels] == list("bcab")
    assert [actual.class_names[i] for i in actual.labels] == list("bcab")
    np.testing.assert_array_equal(actual.targets.argmax(axis=1), actual.labels)


def test_the_same_order_is_left_alone():
    given = dataset(("a", "b"), [0, 1])
    assert in_order_of(given, ("a", "b"), "the network") is given


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a", "x"), "Only the network has b; only the data have x"),
        (("a", "b", "c"), "Only the network has none; only the data have c"),
        (("0", "1"), "Only the network has a, b; only the data have 0, 1"),
    ],
)
def test_other_classes_are_refused(names, message):
    with pytest.raises(ValueError, match=f"the network tells apart other classes .*{message}"):
        in_order_of(dataset(names, [0, 1]), ("a", "b"), "the network")


@pytest.mark.parametrize("names", [("0", "1"), ("n01440764", "n01443537")])
def test_unnamed_classes_may_be_taken_in_the_network_s_order(names):
    given = dataset(names, [0, 1])
    assert in_order_of(given, ("tench", "goldfish"), "the network", numbered=True) is given
    with pytest.raises(ValueError, match="other classes"):
        in_order_of(dataset(names[::-1], [0, 1]), ("a", "b"), "the network", numbered=True)
