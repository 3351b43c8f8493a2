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
def found():
    return diversity(LOGITS, LABELS)


def pairwise(function):
    return np.array([[function(one, other) for other in PREDICTIONS] for one in PREDICTIONS])


def test_pairs_are_measured_as_scikit_learn_does(found):
    kappa = pairwise(metrics.cohen_kappa_score)
    phi = pairwise(lambda a, b: metrics.matthews_corrcoef(a != LABELS, b != LABELS))
    np.testing.assert_allclose(found.kappa, kappa, atol=1e-12)
    np.testing.assert_allclose(found.error_correlation, phi, atol=1e-12)


def test_disagreement_and_double_faults_are_counted(found):
    np.testing.assert_allclose(found.disagreement, pairwise(lambda a, b: np.mean(a != b)))
    both = pairwise(lambda a, b: np.mean((a != LABELS) & (b != LABELS)))
    np.testing.assert_allclose(found.double_fault, both)


def test_brier_of_the_mean_is_the_members_less_their_variance(found):
    onehot = np.eye(K)[LABELS]
    members = np.mean([((p - onehot) ** 2).sum(1).mean() for p in P])
    assert found.brier.members == pytest.approx(members)
    assert found.brier.ambiguity == pytest.approx(P.var(0).sum(1).mean())
    ensemble = ((combine(LOGITS) - onehot) ** 2).sum(1).mean()
    assert found.brier.ensemble == pytest.approx(ensemble)


def test_nll_of_the_geometric_mean_is_the_members_less_their_divergence(found):
    g = combine(LOGITS, "geometric")
    divergence = np.mean([(g * np.log(g / p)).sum(1).mean() for p in P])
    assert found.nll_geometric.ambiguity == pytest.approx(divergence)
    assert found.nll_geometric.ensemble == pytest.approx(-np.log(g[ROWS, LABELS]).mean())
    others = diversity(LOGITS, (LABELS + 1) % K).nll_geometric
    assert others.ambiguity == pytest.approx(divergence)  # whatever the labels are
    assert others.ensemble > found.nll_geometric.ensemble


def test_nll_of_the_mean_gains_jensens_gap(found):
    assert found.nll.ensemble == pytest.approx(metrics.log_loss(LABELS, combine(LOGITS)))
    members = np.mean([metrics.log_loss(LABELS, p) for p in P])
    assert found.nll.ambiguity == pytest.approx(members - found.nll.ensemble)
    assert found.nll.ambiguity > 0


def test_error_is_the_members_less_good_diversity_and_more_the_bad(found):
    ensemble = combine(LOGITS).argmax(1)
    wrong, members = ensemble != LABELS, PREDICTIONS != LABELS
    good = (members & ~wrong).sum() / (M * N)
    bad = (~members & wrong).sum() / (M * N)
    assert (found.good_diversity, found.bad_diversity) == pytest.approx((good, bad))
    assert found.error.ensemble == pytest.approx(wrong.mean())
    assert found.error.members == pytest.approx(members.mean())
    assert found.error.ambiguity == pytest.approx(good - bad) and bad > 0


@pytest.mark.parametrize("name", ["brier", "nll", "nll_geometric", "error"])
def test_each_loss_is_that_of_the_members_less_the_ambiguity(found, name):
    loss = getattr(found, name)
    assert loss.ensemble == pytest.approx(loss.members - loss.ambiguity, abs=1e-12)


def test_good_and_bad_diversity_of_two_classes_are_the_disagreement_with_a_majority():
    # Brown and Kuncheva, MCS 2010: the share of members that disagree with the ensemble.
    logits = np.random.default_rng(3).normal(0, 1e-3, (5, 200, 2))
    logits[..., 1] += np.random.default_rng(4).choice([-1, 1], (5, 200))
    labels = np.random.default_rng(5).integers(0, 2, 200)
    majority = combine(logits, "vote").argmax(1)
    found = diversity(logits, labels)
    apart = (logits.argmax(-1) != majority).mean(0)
    right = majority == labels
    assert found.good_diversity == pytest.approx((apart * right).mean())
    assert found.bad_diversity == pytest.approx((apart * ~right).mean())


def test_equal_members_have_no_diversity():
    found = diversity([LOGITS[0]] * 3, LABELS)
    np.testing.assert_array_equal(found.disagreement, 0)
    np.testing.assert_allclose(found.kappa, 1)
    np.testing.assert_allclose(found.error_correlation, 1)
    for loss in (found.brier, found.nll, found.nll_geometric, found.error):
        assert loss.ambiguity == pytest.approx(0, abs=1e-12)


def test_a_member_without_an_error_has_no_correlation_and_the_mean_is_of_the_others():
    logits = LOGITS.copy()
    logits[0] = 9 * np.eye(K)[LABELS]
    found = diversity(logits, LABELS)
    assert np.isnan(found.error_correlation[0]).all()
    assert np.isnan(found.error_correlation[:, 0]).all()
    rest = found.error_correlation[1:, 1:][np.triu_indices(M - 1, 1)]
    assert found.summary()["error_correlation"] == pytest.approx(rest.mean())


def test_members_that_always_predict_the_same_class_have_no_kappa():
    logits = np.tile([3.0, 0.0], (2, 5, 1))
    found = diversity(logits, [0, 0, 0, 0, 1])
    assert np.isnan(found.kappa).all() and found.summary()["kappa"] is None


def test_probabilities_that_underflow_keep_the_identities():
    logits = np.array([[[0.0, 900.0]], [[0.0, 800.0]]])
    found = diversity(logits, [0])
    assert found.nll.members == pytest.approx(850)
    assert found.nll.ensemble == pytest.approx(800 + np.log(2))
    assert found.nll_geometric.ensemble == pytest.approx(850)


def test_the_summary_is_plain_json(found):
    summary = json.loads(json.dumps(found.summary(), allow_nan=False))
    assert summary["members"] == M
    upper = np.triu_indices(M, 1)
    assert summary["disagreement"] == pytest.approx(found.disagreement[upper].mean())
    assert summary["brier"] == dataclasses.asdict(found.brier)
    one = diversity(LOGITS[:1], LABELS).summary()
    assert one["disagreement"] is None and one["nll"]["ambiguity"] == 0


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="at least one member"):
        diversity([], LABELS)
    with pytest.raises(ValueError, match="each of the 300 examples"):
        diversity(LOGITS, LABELS[:10])
    with pytest.raises(ValueError, match="member 1"):
        diversity([LOGITS[0], LOGITS[0, :, :3]], LABELS)
