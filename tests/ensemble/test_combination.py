"""Combined predictions of members."""

import itertools

import ml_dtypes
import numpy as np
import pytest

from cnnlab.ensemble.combination import RULES, combine, combine_by_count, score_subsets

LOGITS = np.random.default_rng(0).normal(0, 2, (4, 30, 5))


def by_hand(logits):
    p = np.exp(logits)
    return p / p.sum(-1, keepdims=True)


def test_mean_of_probabilities_of_two_hand_made_members():
    logits = np.log([[[0.8, 0.2], [0.5, 0.5]], [[0.4, 0.6], [0.1, 0.9]]])
    np.testing.assert_allclose(combine(logits), [[0.6, 0.4], [0.3, 0.7]])
    np.testing.assert_allclose(combine(logits, weights=[3, 1]), [[0.7, 0.3], [0.4, 0.6]])


def test_each_rule_is_the_average_written_out():
    weights = np.array([0.1, 0.2, 0.3, 0.4])
    p = by_hand(LOGITS)
    means = np.einsum("m,mnk->nk", weights, p)
    np.testing.assert_allclose(combine(LOGITS, weights=weights), means)
    logits = np.einsum("m,mnk->nk", weights, LOGITS)
    np.testing.assert_allclose(combine(LOGITS, "logits", weights), by_hand(logits))
    product = np.prod(p ** weights[:, None, None], axis=0)
    geometric = product / product.sum(-1, keepdims=True)
    np.testing.assert_allclose(combine(LOGITS, "geometric", weights), geometric)
    votes = np.zeros((30, 5))
    for member, weight in zip(p, weights, strict=True):
        for n in range(30):
            votes[n, member[n].argmax()] += weight
    np.testing.assert_allclose(combine(LOGITS, "vote", weights), votes, atol=1.1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_rows_add_up_to_one_and_a_constant_added_to_an_examples_logits_changes_nothing(rule):
    got = combine(LOGITS, rule, [1, 0, 2, 5])
    np.testing.assert_allclose(got.sum(-1), 1)
    shifted = LOGITS + np.random.default_rng(1).normal(0, 9, (4, 30, 1))
    np.testing.assert_allclose(combine(shifted, rule, [1, 0, 2, 5]), got)


def test_the_geometric_mean_is_the_mean_of_logits_where_probabilities_underflow_too():
    np.testing.assert_allclose(combine(LOGITS, "geometric"), combine(LOGITS, "logits"))
    far = np.array([[[0.0, -3000.0]], [[-3000.0, 1.0]]])
    np.testing.assert_allclose(combine(far, "geometric"), by_hand(np.array([[0.0, 0.5]])))
    np.testing.assert_allclose(combine(far, "logits"), combine(far, "geometric"))


def test_the_majority_wins_over_one_that_is_sure():
    sure, unsure = np.log([0.98, 0.02]), np.log([0.45, 0.55])
    logits = np.array([[sure], [unsure], [unsure]])
    assert combine(logits, "vote")[0].argmax() == 1
    assert combine(logits)[0].argmax() == 0
    assert combine(logits, "vote", [3, 1, 1])[0].argmax() == 0


def test_a_tied_vote_goes_to_the_larger_mean_probability_not_to_the_first_class():
    logits = np.log([[[0.5, 0.3, 0.2]], [[0.05, 0.15, 0.8]]])
    got = combine(logits, "vote")
    assert got[0].argmax() == 2
    np.testing.assert_allclose(got, [[0.5, 0, 0.5]], atol=1e-6)
    # 0.1 + 0.2 is not 0.3 in floating point, and yet a tie
    members = np.log([[[0.9, 0.1]], [[0.9, 0.1]], [[0.01, 0.99]]])
    assert combine(members, "vote", [0.1, 0.2, 0.3])[0].argmax() == 1
    assert combine(members, "vote", [0.1, 0.21, 0.3])[0].argmax() == 0


def test_a_member_of_weight_zero_is_left_out():
    for rule in RULES:
        got = combine(LOGITS, rule, [2, 0, 2, 0])
        np.testing.assert_allclose(got, combine(LOGITS[[0, 2]], rule))


def test_one_member_is_its_own_softmax():
    for rule in ("probabilities", "logits", "geometric"):
        np.testing.assert_allclose(combine(LOGITS[:1], rule), by_hand(LOGITS[0]))


def test_large_logits_do_not_overflow():
    np.testing.assert_allclose(combine(np.array([[[1000.0, 0.0]]])), [[1, 0]])


def test_single_and_half_precision_are_averaged_in_double():
    for dtype in (np.float32, np.float16, ml_dtypes.bfloat16):
        low = LOGITS.astype(dtype)
        got = combine(low)
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, by_hand(low.astype(np.float64)).mean(0))


@pytest.mark.parametrize("rule", RULES)
def test_the_first_m_members_are_combined_as_by_combine(rule):
    curve = combine_by_count(list(LOGITS), rule)
    assert len(curve) == 4
    for count, p in enumerate(curve, start=1):
        np.testing.assert_allclose(p, combine(LOGITS[:count], rule))


def test_all_subsets_are_scored_where_they_are_few():
    actual = score_subsets(LOGITS, lambda p: p[0, 0], "logits")
    assert [len(scores) for scores in actual] == [4, 6, 4, 1]
    pairs = [
        combine(LOGITS[list(pair)], "logits")[0, 0] for pair in itertools.combinations(range(4), 2)
    ]
    np.testing.assert_allclose(actual[1], pairs)


def test_many_subsets_are_sampled_without_repetition_from_a_seed():
    logits = np.random.default_rng(2).normal(size=(12, 3, 2))
    actual = score_subsets(logits, lambda p: p[0, 0], most=50, seed=3)
    assert [len(scores) for scores in actual] == [12] + [50] * 9 + [12, 1]
    assert all(len(set(scores.tolist())) == len(scores) for scores in actual)
    again = score_subsets(logits, lambda p: p[0, 0], most=50, seed=3)
    np.testing.assert_array_equal(actual[5], again[5])
    assert not np.array_equal(actual[5], score_subsets(logits, lambda p: p[0, 0], most=50)[5])


def test_an_ensemble_must_have_a_member():
    for nothing in ([], np.zeros((0, 3, 2))):
        with pytest.raises(ValueError, match="at least one member, got none"):
            combine(nothing)


def test_the_error_for_one_network_without_its_axis_shows_how_to_add_it():
    with pytest.raises(ValueError, match=r"\[M, N, K\], got shape \(30, 5\).*logits\[None\]"):
        combine(LOGITS[0])
    with pytest.raises(ValueError, match=r"logits.reshape\(-1, 30, 5\)"):
        combine(LOGITS[None])


@pytest.mark.parametrize("shape", [(30, 4), (29, 5)])
def test_a_member_of_other_classes_or_examples_is_named(shape):
    with pytest.raises(ValueError, match=rf"\(30, 5\) for member 0 and \({shape[0]}, .*member 2"):
        combine([LOGITS[0], LOGITS[1], np.zeros(shape)])


def test_a_member_that_is_no_matrix_is_named():
    with pytest.raises(ValueError, match=r"shape \[N, K\].* of shape \(5,\) for member 1"):
        combine([LOGITS[0], LOGITS[0, 0]])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_member_that_diverged_is_named(bad):
    logits = LOGITS.copy()
    logits[3, 0, 0] = bad
    with pytest.raises(ValueError, match="got 1 of 150 that are not for member 3"):
        combine(logits)


def test_invalid_weights_are_refused():
    with pytest.raises(ValueError, match=r"each of the 4 members, got shape \(3,\)"):
        combine(LOGITS, weights=[1, 1, 1])
    for bad in ([0, 0, 0, 0], [1, 1, 1, -1], [1, 1, 1, np.nan]):
        with pytest.raises(ValueError, match="finite, >= 0 and not all zero"):
            combine(LOGITS, weights=bad)


def test_an_unknown_rule_names_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'geometric'"):
        combine(LOGITS, "geometrical")
    with pytest.raises(ValueError, match="unknown rule"):
        combine_by_count(LOGITS, "mean")
    with pytest.raises(ValueError, match="most must be >= 1"):
        score_subsets(LOGITS, lambda p: 0.0, most=0)
