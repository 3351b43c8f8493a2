"""Weights and members chosen on validation data."""

import itertools

import numpy as np
import pytest
from scipy import optimize

from cnnlab.ensemble.combination import combine
from cnnlab.ensemble.selection import greedy_selection, validation_weights

RNG = np.random.default_rng(0)
N, K = 200, 4
LABELS = RNG.integers(0, K, N)


def members(strengths, seed=1):
    """Logits [M, N, K]: noise, and so much more for the true class."""
    noise = np.random.default_rng(seed).normal(0, 1.5, (len(strengths), N, K))
    return noise + np.array(strengths)[:, None, None] * np.eye(K)[LABELS]


LOGITS = members([2.0, 1.5, 1.5, 1.0, 0.2, -1.0])


def nll(logits, weights=None):
    return -np.log(combine(logits, weights=weights)[np.arange(N), LABELS]).mean()


def accuracy(logits, weights=None):
    return (combine(logits, weights=weights).argmax(1) == LABELS).mean()


# Weights of the mixture ----------------------------------------------------------------------


def test_weights_are_scipys_optimum():
    weights = validation_weights(LOGITS, LABELS, tolerance=1e-9, steps=100_000)
    assert weights.sum() == pytest.approx(1) and (weights >= 0).all()
    actual = optimize.minimize(
        lambda w: nll(LOGITS, np.maximum(w, 0)),
        np.full(6, 1 / 6),
        bounds=[(0, 1)] * 6,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        method="SLSQP",
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert nll(LOGITS, weights) <= actual.fun + 1e-8
    np.testing.assert_allclose(weights, actual.x, atol=1e-3)


def test_weights_satisfy_the_optimality_conditions():
    weights = validation_weights(LOGITS, LABELS, tolerance=1e-9, steps=100_000)
    true = np.array([combine(m[None])[np.arange(N), LABELS] for m in LOGITS])
    gains = (true / (weights @ true)).mean(1)
    assert gains.max() <= 1 + 1e-8
    np.testing.assert_allclose(gains[weights > 0.01], 1, atol=1e-6)
    assert (gains[weights < 1e-6] < 1).all() and (weights < 1e-6).any()


def test_every_step_lowers_the_likelihood_loss_and_the_bound_holds():
    losses = [
        nll(LOGITS, validation_weights(LOGITS, LABELS, tolerance=0, steps=s))
        for s in (1, 2, 3, 5, 10, 100)
    ]
    assert np.all(np.diff(losses) < 0) and losses[0] < nll(LOGITS)
    best = nll(LOGITS, validation_weights(LOGITS, LABELS, tolerance=1e-9, steps=100_000))
    for tolerance in (1e-2, 1e-3, 1e-5):
        got = nll(LOGITS, validation_weights(LOGITS, LABELS, tolerance=tolerance))
        assert best <= got + 1e-9 and got <= best + tolerance


def test_a_mixture_of_two_that_are_right_by_turns_has_the_shares_of_the_turns():
    # Where one member is right the other gives the true class nothing (600 nats less).
    labels = np.zeros(10, int)
    turn = np.arange(10) < 7
    logits = np.zeros((2, 10, 2))
    logits[0, ~turn, 1] = logits[1, turn, 1] = 600.0
    np.testing.assert_allclose(validation_weights(logits, labels), [0.7, 0.3], atol=1e-6)


def test_probabilities_that_underflow_for_all_members_give_weights_and_no_nan():
    logits = np.array([[[0.0, 2000.0]], [[0.0, 1999.0]]])
    weights = validation_weights(logits, [0], tolerance=1e-9)
    np.testing.assert_allclose(weights, [0, 1], atol=1e-6)


def test_equal_members_share_and_one_has_all():
    twice = np.array([LOGITS[0], LOGITS[0]])
    np.testing.assert_allclose(validation_weights(twice, LABELS), [0.5, 0.5])
    np.testing.assert_array_equal(validation_weights(LOGITS[:1], LABELS), [1.0])


# Greedy selection ----------------------------------------------------------------------------


def brute(logits, loss, rounds):
    """The same search, with nothing shared: every ensemble is combined from its members again."""
    chosen = [min(range(len(logits)), key=lambda m: loss(logits[[m]]))]
    path = [list(chosen)]
    for _ in range(rounds):
        chosen.append(min(range(len(logits)), key=lambda m: loss(logits[[*chosen, m]])))
        path.append(list(chosen))
    best = min(path, key=lambda ensemble: loss(logits[ensemble]))
    return np.bincount(best, minlength=len(logits)) / len(best)


@pytest.mark.parametrize("metric", ["nll", "accuracy"])
def test_the_selection_is_that_of_a_plain_search(metric):
    loss = nll if metric == "nll" else lambda logits: (-accuracy(logits), nll(logits))
    got = greedy_selection(LOGITS, LABELS, metric=metric, rounds=8)
    np.testing.assert_allclose(got, brute(LOGITS, loss, 8))
    assert got.sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_never_worse_than_the_best_member_on_its_own_data(seed):
    logits = members(np.random.default_rng(seed).uniform(-1, 2, 5), seed)
    for start in (1, 4):
        weights = greedy_selection(logits, LABELS, rounds=6, start=start)
        assert nll(logits, weights) <= min(nll(m[None]) for m in logits) + 1e-12
        weights = greedy_selection(logits, LABELS, metric="accuracy", rounds=6, start=start)
        assert accuracy(logits, weights) >= max(accuracy(m[None]) for m in logits)


def test_ties_of_accuracy_are_decided_by_the_likelihood():
    labels = np.array([0, 0])
    logits = np.log([[[0.6, 0.4], [0.6, 0.4]], [[0.9, 0.1], [0.9, 0.1]]])
    got = greedy_selection(logits, labels, metric="accuracy", rounds=3)
    np.testing.assert_array_equal(got, [0, 1])


def test_the_start_is_as_many_of_the_best_as_are_best_together():
    ranked = sorted(range(6), key=lambda m: nll(LOGITS[[m]]))
    losses = [nll(LOGITS[ranked[:n]]) for n in range(1, 7)]
    for most in (2, 6, 99):
        count = 1 + int(np.argmin(losses[:most]))
        want = np.isin(np.arange(6), ranked[:count]) / count
        np.testing.assert_allclose(greedy_selection(LOGITS, LABELS, rounds=0, start=most), want)
    assert 1 < 1 + int(np.argmin(losses)) < 6


def test_many_rounds_come_near_the_best_mixture():
    best = nll(LOGITS, validation_weights(LOGITS, LABELS, tolerance=1e-9))
    got = nll(LOGITS, greedy_selection(LOGITS, LABELS, rounds=100))
    assert best <= got <= best + 1e-3


def test_bags_are_selections_from_parts_of_the_members_averaged():
    # Bags of one member: the weights count the draws of each.
    got = greedy_selection(LOGITS, LABELS, bags=60, bag_fraction=1 / 6, rounds=2, seed=4)
    np.testing.assert_allclose(got * 60, np.round(got * 60), atol=1e-9)
    assert (got > 0).all() and got.sum() == pytest.approx(1)
    # Bags of all members are all the same selection.
    whole = greedy_selection(LOGITS, LABELS, bags=3, bag_fraction=1.0, rounds=5)
    np.testing.assert_allclose(whole, greedy_selection(LOGITS, LABELS, rounds=5))
    # Bags of pairs: the mean of selections from pairs.
    pairs = [
        greedy_selection(LOGITS[:3][list(pair)], LABELS, rounds=4)
        for pair in itertools.combinations(range(3), 2)
    ]
    one = greedy_selection(LOGITS[:3], LABELS, bags=1000, bag_fraction=2 / 3, rounds=4, seed=1)
    want = [pairs[0][0] + pairs[1][0], pairs[0][1] + pairs[2][0], pairs[1][1] + pairs[2][1]]
    np.testing.assert_allclose(one, np.array(want) / 3, atol=0.06)


def test_bags_come_from_the_seed():
    options = {"bags": 4, "rounds": 5}
    one = greedy_selection(LOGITS, LABELS, seed=1, **options)
    np.testing.assert_array_equal(one, greedy_selection(LOGITS, LABELS, seed=1, **options))
    assert not np.array_equal(one, greedy_selection(LOGITS, LABELS, seed=2, **options))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"metric": "acuracy"}, "Did you mean 'accuracy'"),
        ({"rounds": -1}, "rounds must be >= 0, got -1"),
        ({"start": 0}, "start must be >= 1"),
        ({"bags": 0}, "bags must be >= 1"),
        ({"bag_fraction": 0.0}, r"bag_fraction must lie in \(0, 1\]"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        greedy_selection(LOGITS, LABELS, **options)


def test_labels_that_do_not_fit_are_refused():
    for choose in (validation_weights, greedy_selection):
        with pytest.raises(ValueError, match="each of the 200 examples"):
            choose(LOGITS, LABELS[:-1])
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 4\), got 0 to 4"):
            choose(LOGITS, np.where(LABELS == 3, 4, LABELS))
    with pytest.raises(ValueError, match="steps must be >= 1"):
        validation_weights(LOGITS, LABELS, steps=0)
