"""Calibration error, confusion counts and per-class accuracy."""

import numpy as np
import pytest

from cnnlab.report import calibration


def test_ece_of_a_hand_made_table():
    # Two bins: (0, 0.5] holds the confidence 0.5, (0.5, 1] holds 0.6, 0.8 and 1.0.
    p = np.array([[0.5, 0.5], [0.6, 0.4], [0.2, 0.8], [1.0, 0.0]])
    labels = np.array([1, 0, 0, 0])  # right: no (tie goes to class 0), yes, no, yes
    got = calibration.expected_calibration_error(p, labels, bins=2)
    np.testing.assert_allclose(got.edges, [0, 0.5, 1])
    np.testing.assert_array_equal(got.counts, [1, 3])
    np.testing.assert_allclose(got.confidence, [0.5, 0.8])
    np.testing.assert_allclose(got.accuracy, [0.0, 2 / 3])
    assert got.ece == pytest.approx(0.25 * 0.5 + 0.75 * (0.8 - 2 / 3))


def test_ece_weighs_bins_by_their_examples_and_skips_empty_ones():
    p = np.array([[0.9, 0.1]] * 9 + [[0.3, 0.7]])
    labels = np.array([0] * 9 + [0])
    got = calibration.expected_calibration_error(p, labels, bins=10)
    assert got.ece == pytest.approx(0.9 * 0.1 + 0.1 * 0.7)
    assert got.counts.sum() == 10
    assert np.isnan(got.accuracy[0]) and np.isnan(got.confidence[0])


def test_ece_of_confidence_equal_to_accuracy_is_zero():
    p = np.array([[0.75, 0.25]] * 4)
    assert calibration.expected_calibration_error(p, [0, 0, 0, 1]).ece == pytest.approx(0)


def test_ece_agrees_with_a_plain_loop_over_bins():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4) * 0.5, 500).astype(np.float32)
    labels = rng.integers(0, 4, 500)
    want = 0.0
    for b in range(15):
        inside = [i for i in range(500) if b / 15 < p[i].max() <= (b + 1) / 15]
        if inside:
            right = np.mean([p[i].argmax() == labels[i] for i in inside])
            want += len(inside) / 500 * abs(right - np.mean([p[i].max() for i in inside]))
    got = calibration.expected_calibration_error(p, labels)
    assert got.ece == pytest.approx(want, abs=1e-6)
    assert len(got.counts) == 15


def test_a_confidence_of_one_is_in_the_last_bin_despite_rounding():
    p = np.array([[1.0000001, 0.0]], np.float32)
    got = calibration.expected_calibration_error(p, [0])
    assert got.counts[-1] == 1


def test_logits_are_refused_with_the_advice_to_apply_a_softmax():
    with pytest.raises(ValueError, match="softmax"):
        calibration.expected_calibration_error(np.array([[4.0, -1.0]]), [0])


@pytest.mark.parametrize("bad", [np.nan, -0.01])
def test_probabilities_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        calibration.expected_calibration_error(np.array([[bad, 1.0]]), [0])


def test_labels_and_probabilities_must_fit():
    p = np.array([[0.5, 0.5], [0.5, 0.5]])
    with pytest.raises(ValueError, match="equally many, got 2 and 1"):
        calibration.expected_calibration_error(p, [0])
    with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\), got 0 to 2"):
        calibration.expected_calibration_error(p, [0, 2])
    with pytest.raises(ValueError, match="bins must be an integer >= 1"):
        calibration.expected_calibration_error(p, [0, 1], bins=0)


def test_confusion_has_true_classes_in_rows():
    got = calibration.confusion([0, 0, 1, 2, 2, 2], [0, 1, 1, 0, 0, 2], 4)
    want = [[1, 1, 0, 0], [0, 1, 0, 0], [2, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(got, want)


def test_confusion_and_recall_agree_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    labels, predictions = rng.integers(0, 7, (2, 300)).astype(np.int32)
    got = calibration.confusion(labels, predictions, 7)
    np.testing.assert_array_equal(got, metrics.confusion_matrix(labels, predictions))
    recall = metrics.recall_score(labels, predictions, average=None)
    np.testing.assert_allclose(calibration.per_class_accuracy(got), recall)


def test_confusion_refuses_a_class_that_does_not_exist():
    with pytest.raises(ValueError, match=r"predictions must lie in \[0, 3\), got 0 to 3"):
        calibration.confusion([0, 1], [0, 3], 3)
    with pytest.raises(ValueError, match="labels must be integers"):
        calibration.confusion([0.0, 1.0], [0, 1], 3)


def test_per_class_accuracy_of_a_class_without_examples_is_nan():
    got = calibration.per_class_accuracy(np.array([[3, 1], [0, 0]]))
    np.testing.assert_array_equal(got, [0.75, np.nan])


def test_per_class_accuracy_refuses_what_is_no_count_matrix():
    for bad in (np.ones((2, 3), int), np.ones((2, 2)), np.array([[1, -1], [0, 0]])):
        with pytest.raises(ValueError, match=r"\[K, K\] matrix of integers"):
            calibration.per_class_accuracy(bad)
