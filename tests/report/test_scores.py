"""Scores of probabilities."""

import numpy as np
import pytest
from sklearn import metrics

from cnnlab.report.calibration import expected_calibration_error
from cnnlab.report.scores import TINY, example_scores, scores

RNG = np.random.default_rng(0)
N, K = 400, 7
P = RNG.dirichlet(np.full(K, 0.4), N)
LABELS = np.array([RNG.choice(K, p=p) for p in P])


def test_scores_are_scikit_learns():
    got = scores(P, LABELS, top=3)
    classes = np.arange(K)
    assert got["accuracy"] == pytest.approx(metrics.accuracy_score(LABELS, P.argmax(1)))
    assert got["nll"] == pytest.approx(metrics.log_loss(LABELS, P, labels=classes))
    top = metrics.top_k_accuracy_score(LABELS, P, k=3, labels=classes)
    assert got["top_k"] == pytest.approx(top)
    assert got["ece"] == expected_calibration_error(P, LABELS).ece
    assert set(got) == {"accuracy", "nll", "brier", "ece", "top_k"}
    assert all(type(value) is float for value in got.values())


def test_brier_is_scikit_learns_multi_class_score_unhalved():
    try:
        want = metrics.brier_score_loss(LABELS, P, labels=np.arange(K), scale_by_half=False)
    except TypeError:  # of two classes only, before scikit-learn 1.7
        pytest.skip("this scikit-learn has no Brier score of several classes")
    assert scores(P, LABELS)["brier"] == pytest.approx(want)


def test_scores_of_a_table_by_hand():
    p = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]
    got = scores(p, [0, 1], top=2, bins=2)
    assert got["accuracy"] == 0.5 and got["top_k"] == 1.0
    assert got["nll"] == pytest.approx(-(np.log(0.7) + np.log(0.3)) / 2)
    assert got["brier"] == pytest.approx((0.09 + 0.04 + 0.01 + 0.01 + 0.49 + 0.36) / 2)
    assert got["ece"] == pytest.approx(abs(0.65 - 0.5))


def test_brier_runs_from_nought_to_two():
    np.testing.assert_allclose(example_scores(np.eye(3), [0, 1, 0])["brier"], [0, 0, 2])


def test_the_means_over_examples_are_the_scores():
    got, each = scores(P, LABELS), example_scores(P, LABELS)
    assert {name: values.shape for name, values in each.items()} == {
        "accuracy": (N,),
        "nll": (N,),
        "brier": (N,),
    }
    for name, values in each.items():
        assert got[name] == pytest.approx(values.mean())


def test_a_zero_probability_counts_as_the_least_positive_one():
    assert scores(np.eye(2), [1, 1])["nll"] == pytest.approx(-np.log(TINY) / 2)
    assert -np.log(TINY) == pytest.approx(708.4, abs=0.1)
    small = [[1.0, 1e-40]]  # which scikit-learn would clip at 2.2e-16
    assert scores(small, [1])["nll"] == pytest.approx(40 * np.log(10))


def test_a_probability_that_is_a_rounding_over_one_is_no_gain():
    assert scores(np.array([[1.000001, 0.0]], np.float32), [0])["nll"] == 0.0


def test_top_k_takes_equal_probabilities_in_order_as_the_accuracy_does():
    p, labels = np.full((4, 4), 0.25), np.arange(4)
    assert [scores(p, labels, top=k)["top_k"] for k in (1, 2, 3, 4, 5)] == [0.25, 0.5, 0.75, 1, 1]
    assert scores(P, LABELS, top=1)["top_k"] == scores(P, LABELS)["accuracy"]


def test_bad_input_is_refused():
    for function in (scores, example_scores):
        with pytest.raises(ValueError, match="Apply a softmax"):
            function(np.log(P), LABELS)
        with pytest.raises(ValueError, match="equally many"):
            function(P, LABELS[:3])
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 7\)"):
            function(P, LABELS + 1)
    for top in (0, 2.5, True):
        with pytest.raises(ValueError, match="top must be an integer >= 1"):
            scores(P, LABELS, top=top)
