"""Nearest neighbours against scikit-learn's, under rounding, and invalid arguments."""

import ml_dtypes
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from cnnlab.transfer import neighbours as module
from cnnlab.transfer.neighbours import classify, neighbours, vote

GENERATOR = np.random.default_rng(0)
GALLERY = (GENERATOR.normal(size=(70, 6)) + 3).astype(np.float32)
QUERIES = (GENERATOR.normal(size=(23, 6)) + 3).astype(np.float32)


@pytest.mark.parametrize("metric", module.METRICS)
@pytest.mark.parametrize("k", [1, 5, 70])
def test_neighbours_are_scikit_learn_s(monkeypatch, metric, k):
    monkeypatch.setattr(module, "_CHUNK", 700)  # ten queries at a time
    name = {"l2": "euclidean"}.get(metric, metric)
    theirs = NearestNeighbors(n_neighbors=k, algorithm="brute", metric=name)
    wanted = theirs.fit(GALLERY.astype(np.float64)).kneighbors(QUERIES.astype(np.float64))
    indices, distances = neighbours(QUERIES, GALLERY, k, metric)
    np.testing.assert_array_equal(indices, wanted[1])
    np.testing.assert_allclose(distances, wanted[0], rtol=1e-6, atol=1e-12)


def test_neighbours_that_float32_cannot_tell_apart_are_found():
    # Forty that differ in the seventh digit, far from the origin and from one that is farther yet.
    steps = np.random.default_rng(1).permutation(40)
    gallery = np.zeros((41, 3))
    gallery[:40, 0] = 1 + 1e-7 * steps
    gallery[40] = 1e4
    indices, distances = neighbours(np.zeros((1, 3)), gallery, 3)
    np.testing.assert_array_equal(steps[indices[0]], [0, 1, 2])
    np.testing.assert_allclose(distances[0], [1, 1 + 1e-7, 1 + 2e-7], rtol=1e-12)


@pytest.mark.parametrize("metric", module.METRICS)
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_features_have_the_neighbours_of_the_same_numbers(metric, dtype):
    # Norms of 700, whose squares float16 does not hold.
    generator = np.random.default_rng(2)
    gallery, queries = (
        (10 * (generator.normal(size=(count, 512)) + 2)).astype(dtype) for count in (60, 20)
    )
    wanted = neighbours(queries.astype(np.float64), gallery.astype(np.float64), 3, metric)
    got = neighbours(queries, gallery, 3, metric)
    np.testing.assert_array_equal(got[0], wanted[0])
    np.testing.assert_allclose(got[1], wanted[1], rtol=1e-12)


@pytest.mark.parametrize("metric", module.METRICS)
@pytest.mark.parametrize(
    ("dtype", "size"),
    [(np.float32, 1e-30), (np.float32, 1e30), (np.float64, 1e-140), (np.float64, 1e140)],
)
def test_the_size_of_features_does_not_matter(metric, dtype, size):
    """Also where float32 does not hold their squares, or their sums."""
    wanted = neighbours(QUERIES.astype(np.float64), GALLERY.astype(np.float64), 3, metric)
    scaled = [(x.astype(np.float64) * size).astype(dtype) for x in (QUERIES, GALLERY)]
    indices, distances = neighbours(*scaled, 3, metric)
    np.testing.assert_array_equal(indices, wanted[0])
    unit = size if metric == "l2" else 1
    np.testing.assert_allclose(distances / unit, wanted[1], rtol=1e-4, atol=1e-7)


def test_of_equals_the_first_comes_first_and_zeros_are_far_in_angle():
    gallery = np.tile([[1.0, 0.0]], (40, 1))
    np.testing.assert_array_equal(neighbours(gallery[:2], gallery, 4)[0], [[0, 1, 2, 3]] * 2)
    indices, distances = neighbours([[0.0, 2.0]], [[0.0, 0.0], [0.0, 9.0], [1.0, 0.0]], 3, "cosine")
    np.testing.assert_array_equal(indices, [[1, 0, 2]])
    np.testing.assert_allclose(distances, [[0, 1, 1]])


def test_the_classifier_is_scikit_learn_s_where_votes_are_not_tied():
    labels = GENERATOR.integers(0, 2, 70)
    for k in (1, 3):  # two classes and an odd number have no ties
        theirs = KNeighborsClassifier(k, algorithm="brute").fit(GALLERY, labels)
        got = classify(QUERIES, GALLERY, labels, k, 2)
        np.testing.assert_array_equal(got, theirs.predict(QUERIES))


@pytest.mark.parametrize("label", [-1, 3])
def test_a_neighbour_of_no_class_is_refused(label):
    with pytest.raises(ValueError, match=r"labels must be in \[0, 3\)"):
        vote(np.asarray([[0, 1, label]]), 3)


def test_votes_that_are_tied_go_to_the_nearer():
    labels = np.array([[2, 0, 0, 2, 1], [1, 0, 2, 2, 0], [1, 2, 0, 2, 2]])
    np.testing.assert_array_equal(vote(labels, 3), [2, 0, 2])


def test_invalid_queries_are_refused():
    cases = [
        (lambda: neighbours(QUERIES, GALLERY, 71), r"k must be in 1\.\.70"),
        (lambda: neighbours(QUERIES, GALLERY, 0), "got 0"),
        (lambda: neighbours(QUERIES[:, :4], GALLERY, 1), "same stage, got 4 and 6"),
        (lambda: neighbours(QUERIES, GALLERY, 1, "cosin"), "Did you mean 'cosine'"),
        (lambda: neighbours(QUERIES * np.inf, GALLERY, 1), "queries must be finite"),
        (lambda: neighbours(QUERIES.astype(float) * 1e151, GALLERY, 1), "at most 1e.150.*Divide"),
        (lambda: neighbours(QUERIES + 1j, GALLERY, 1), "real numbers, got complex"),
        (lambda: neighbours(QUERIES[0], GALLERY, 1), r"queries must be \[N, D\]"),
        (lambda: classify(QUERIES, GALLERY, np.zeros(5, int), 1, 2), "70 examples needs a label"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
