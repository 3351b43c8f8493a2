"""Arrays in memory as a data set."""

import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab.data import from_arrays, load


def pictures(n=30, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 5, 6, 3), np.uint8)


def labels(n=30):
    return np.arange(n) % 3


def test_they_are_split_as_those_of_a_file(tmp_path):
    np.savez(tmp_path / "own.npz", images=pictures(), labels=labels())
    wanted = load("npz", tmp_path / "own.npz", validation=0.25, split_seed=3)
    actual = from_arrays(pictures(), labels(), validation=0.25, split_seed=3, name="own")
    for part in ("train", "validation", "test"):
        ours, theirs = getattr(actual, part), getattr(wanted, part)
        np.testing.assert_array_equal(ours.images, theirs.images)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        assert (ours.part, ours.class_names, ours.name) == (part, theirs.class_names, "own")
        assert ours.statistics == theirs.statistics
    assert actual.notes == wanted.notes


def test_parts_and_names_of_ones_own_and_other_arrays():
    splits = from_arrays(
        jnp.asarray(pictures()[..., 0]),
        labels()[:, None].tolist(),
        ("a", "b", "c"),
        test=(pictures(9, 1)[..., 0], labels(9)),
        validation=(pictures(6, 2)[..., 0], labels(6)),
    )
    assert [len(x) for x in (splits.train, splits.validation, splits.test)] == [30, 6, 9]
    assert splits.train.image_shape == (5, 6, 1) and splits.train.class_names == ("a", "b", "c")
    np.testing.assert_array_equal(splits.test.images[..., 0], pictures(9, 1)[..., 0])
    assert from_arrays(pictures(), labels(), validation=None).validation is None


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (
            (pictures() / 255, labels()),
            {},
            "arrays: train_images must be .*uint8, got float64.*255",
        ),
        ((pictures(), labels() / 1), {}, "train_labels must be whole numbers"),
        ((pictures(), labels(29)), {}, "arrays, train part: .*30.*29"),
        ((pictures(), labels(), ("a", "b")), {}, "arrays, train part: .*class"),
        ((pictures(), labels()), {"test": 0}, "the test part must have at least one"),
        ((pictures(), labels()), {"split_seed": -1}, "split_seed must be at least 0"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        from_arrays(*arguments, **settings)
