"""Measures of diversity, and the identities of the decomposed losses."""

import dataclasses
import json

import numpy as np
import pytest
from sklearn import metrics

from cnnlab.ensemble.combination import combine
from cnnlab.ensemble.diversity_measures import diversity

RNG = np.random.default_rng(0)
M, N, K = 5, 300, 4
LABELS = RNG.integers(0, K, N)
LOGITS = RNG.normal(0, 1.5, (M, N, K)) + 1.5 * np.eye(K)[LABELS]
PREDICTIONS = LOGITS.argmax(-1)
P = np.array([combine(member[None]) for member in LOGITS])
ROWS = np.arange(N)


@pytest.fixture(scope="module")
def actual():
    return diversity(LOGITS, LABELS)


def pairwise(function):
    return np.array([[function(one, other) for other in PREDICTIONS] for one in PREDICTIONS])


def test_pairs_are_measured_as_scikit_learn_does(actual):
    kappa = pairwise(metrics.cohen_kappa_score)
    phi = pairwise(lambda a, b: metrics.matthews_corrcoef(a != LABELS, b != LABELS))
    np.testing.assert_allclose(actual.kappa, kappa, atol=1e-12)
    np.testing.assert_allclose(actual.error_correlation, phi, atol=1e-12)


def test_disagreement_and_double_faults_are_counted(actual):
    np.testing.assert_allclose(actual.disagreement, pairwise(lambda a, b: np.mean(a != b)))
    both = pairwise(lambda a, b: np.mean((a != LABELS) & (b != LABELS)))
    np.testing.assert_allclose(actual.double_fault, both)


def test_brier_of_the_mean_is_the_members_less_their_variance(actual):
    onehot = np.eye(K)[LABELS]
    members = np.mean([((p - onehot) ** 2).sum(1).mean() for p in P])
    assert actual.brier.members == pytest.approx(members)
    assert actual.brier.ambiguity == pytest.approx(P.var(0).sum(1).mean())
    ensemble = ((combine(LOGITS) - onehot) ** 2).sum(1).mean()
    assert actual.brier.ensemble == pytest.approx(ensemble)


def test_nll_of_the_geometric_mean_is_the_members_less_their_divergence(actual):
    g = combine(LOGITS, "geometric")
    divergence = np.mean([(g * np.log(g / p)).sum(1).mean() for p in P])
    assert actual.nll_geometric.ambiguity == pytest.approx(divergence)
    assert actual.nll_geometric.ensemble == pytest.approx(-np.log(g[ROWS, LABELS]).mean())
    others = diversity(LOGITS, (LABELS + 1) % K).nll_geometric
    assert others.ambiguity == pytest.approx(divergence)  # whatever the labels are
    assert others.ensemble > actual.nll_geometric.ensemble


def test_nll_of_the_mean_gains_jensens_gap(actual):
    assert actual.nll.ensemble == pytest.approx(metrics.log_loss(LABELS, combine(LOGITS)))
    members = np.mean([metrics.log_loss(LABELS, p) for p in P])
    assert actual.nll.ambiguity == pytest.approx(members - actual.nll.ensemble)
    assert actual.nll.ambiguity > 0


def test_error_is_the_members_less_good_diversity_and_more_the_bad(actual):
    ensemble = combine(LOGITS).argmax(1)
    wrong, members = ensemble != LABELS, PREDICTIONS != LABELS
    good = (members & ~wrong).sum() / (M * N)
    bad = (~members & wrong).sum() / (M * N)
    assert (actual.good_diversity, actual.bad_diversity) == pytest.approx((good, bad))
    assert actual.error.ensemble == pytest.approx(wrong.mean())
    assert actual.error.members == pytest.approx(members.mean())
    assert actual.error.ambiguity == pytest.approx(good - bad) and bad > 0


@pytest.mark.parametrize("name", ["brier", "nll", "nll_geometric", "error"])
def test_each_loss_is_that_of_the_members_less_the_ambiguity(actual, name):
    loss = getattr(actual, name)
    assert loss.ensemble == pytest.approx(loss.members - loss.ambiguity, abs=1e-12)


def test_good_and_bad_diversity_of_two_classes_are_the_disagreement_with_a_majority():
    # Brown and Kuncheva, MCS 2010: the share of members that disagree with the ensemble.
    logits = np.random.default_rng(3).normal(0, 1e-3, (5, 200, 2))
    logits[..., 1] += np.random.default_rng(4).choice([-1, 1], (5, 200))
    labels = np.random.default_rng(5).integers(0, 2, 200)
    majority = combine(logits, "vote").argmax(1)
    actual = diversity(logits, labels)
    apart = (logits.argmax(-1) != majority).mean(0)
    right = majority == labels
    assert actual.good_diversity == pytest.approx((apart * right).mean())
    assert actual.bad_diversity == pytest.approx((apart * ~right).mean())


def test_equal_members_have_no_diversity():
    actual = diversity([LOGITS[0]] * 3, LABELS)
    np.testing.assert_array_equal(actual.disagreement, 0)
    np.testing.assert_allclose(actual.kappa, 1)
    np.testing.assert_allclose(actual.error_correlation, 1)
    for loss in (actual.brier, actual.nll, actual.nll_geometric, actual.error):
        assert loss.ambiguity == pytest.approx(0, abs=1e-12)


def test_a_member_without_an_error_has_no_correlation_and_the_mean_is_of_the_others():
    logits = LOGITS.copy()
    logits[0] = 9 * np.eye(K)[LABELS]
    actual = diversity(logits, LABELS)
    assert np.isnan(actual.error_correlation[0]).all()
    assert np.isnan(actual.error_correlation[:, 0]).all()
    rest = actual.error_correlation[1:, 1:][np.triu_indices(M - 1, 1)]
    assert actual.summary()["error_correlation"] == pytest.approx(rest.mean())


def test_members_that_always_predict_the_same_class_have_no_kappa():
    logits = np.tile([3.0, 0.0], (2, 5, 1))
    actual = diversity(logits, [0, 0, 0, 0, 1])
    assert np.isnan(actual.kappa).all() and actual.summary()["kappa"] is None


def test_probabilities_that_underflow_keep_the_identities():
    logits = np.array([[[0.0, 900.0]], [[0.0, 800.0]]])
    actual = diversity(logits, [0])
    assert actual.nll.members == pytest.approx(850)
    assert actual.nll.ensemble == pytest.approx(800 + np.log(2))
    assert actual.nll_geometric.ensemble == pytest.approx(850)


def test_the_summary_is_plain_json(actual):
    summary = json.loads(json.dumps(actual.summary(), allow_nan=False))
    assert summary["members"] == M
    upper = np.triu_indices(M, 1)
    assert summary["disagreement"] == pytest.approx(actual.disagreement[upper].mean())
    assert summary["brier"] == dataclasses.asdict(actual.brier)
    one = diversity(LOGITS[:1], LABELS).summary()
    assert one["disagreement"] is None and one["nll"]["ambiguity"] == 0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="at least one member"):
        diversity([], LABELS)
    with pytest.raises(ValueError, match="each of the 300 examples"):
        diversity(LOGITS, LABELS[:10])
    with pytest.raises(ValueError, match="member 1"):
        diversity([LOGITS[0], LOGITS[0, :, :3]], LABELS)
