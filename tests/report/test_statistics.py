"""Figures over seeds."""

import numpy as np
import pytest
from scipy import stats

from cnnlab.report.statistics import (
    mean_and_error,
    over_seeds,
    paired,
    paired_bootstrap,
    paired_over_both,
    percent,
    points,
    varies_less,
    wilson,
    with_interval,
)


def test_standard_error_is_scipys():
    values = np.array([0.981, 0.992, 0.987, 0.990])
    figure = over_seeds(values)
    assert figure["mean"] == pytest.approx(values.mean())
    assert figure["standard_error"] == pytest.approx(stats.sem(values))
    assert (
        percent(figure) == f"{100 * values.mean():.2f} ± {100 * stats.sem(values):.2f} % (4 seeds)"
    )


def test_one_seed_has_no_error():
    figure = over_seeds([0.5])
    assert figure["standard_error"] is None and percent(figure) == "50.00 %"


@pytest.mark.parametrize("values", [[], [[0.1, 0.2]]])
def test_other_shapes_are_refused(values):
    with pytest.raises(ValueError, match=r"must be \[M\]"):
        over_seeds(values)


def test_a_paired_difference_has_the_interval_of_the_paired_t_test():
    ours, theirs = np.array([0.13, 0.17, 0.15, 0.16]), np.array([0.10, 0.12, 0.13, 0.11])
    figure = paired(ours, theirs, confidence=0.9)
    test = stats.ttest_rel(ours, theirs)
    assert figure["mean"] == pytest.approx((ours - theirs).mean())
    assert figure["mean"] / figure["standard_error"] == pytest.approx(test.statistic)
    np.testing.assert_allclose(figure["interval"], test.confidence_interval(0.9))
    assert figure["confidence"] == 0.9


def test_pairs_take_out_what_both_have_in_common():
    common = np.array([0.1, 0.5, 0.9])
    figure = paired(common + np.array([0.011, 0.010, 0.009]), common)
    assert figure["interval"][0] > 0
    assert figure["standard_error"] < 0.01 * over_seeds(common)["standard_error"]


def test_one_pair_has_no_interval_and_others_are_refused():
    assert paired([0.3], [0.1])["interval"] is None
    with pytest.raises(ValueError, match=r"same seeds, got shapes \(2,\), \(3,\)"):
        paired([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="confidence must lie"):
        paired([1, 2], [1, 2], confidence=95)


def test_one_figure_has_student_s_interval_of_its_mean():
    values = [0.13, 0.17, 0.15, 0.16]
    figure = with_interval(values, 0.9)
    wanted = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    np.testing.assert_allclose(figure["interval"], wanted)
    assert figure["values"] == pytest.approx(values)
    assert with_interval([0.3])["interval"] is None


def test_a_difference_in_words():
    figure = {"mean": 0.012, "interval": [-0.0036, 0.0206], "confidence": 0.95}
    assert points(figure) == "+1.20 points (95 % interval -0.36 to +2.06)"
    text = points({**figure, "confidence": 0.9}, 1, of="over images")
    assert text == "+1.2 points (90 % interval over images -0.4 to +2.1)"
    assert points(paired([0.3], [0.1])) == "+20.00 points"


def test_the_bootstrap_interval_of_many_examples_is_the_normal_one():
    rng = np.random.default_rng(0)
    ours, theirs = rng.random(2000) < 0.9, rng.random(2000) < 0.87
    figure = paired_bootstrap(ours, theirs, confidence=0.9)
    differences = ours.astype(float) - theirs
    error = stats.sem(differences)
    assert figure["mean"] == pytest.approx(differences.mean())
    assert figure["standard_error"] == pytest.approx(error, rel=0.03)
    reach = stats.norm.ppf(0.95) * error
    want = [figure["mean"] - reach, figure["mean"] + reach]
    np.testing.assert_allclose(figure["interval"], want, atol=0.06 * reach)
    assert (figure["examples"], figure["repetitions"]) == (2000, 1)


def test_the_bootstrap_interval_is_scipys():
    values = np.random.default_rng(1).exponential(size=80)
    figure = paired_bootstrap(values, np.zeros(80), resamples=20_000)
    scipys = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(2)
    )
    np.testing.assert_allclose(figure["interval"], scipys.confidence_interval, atol=0.01)


def test_the_bootstrap_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    inside = 0
    for i in range(400):
        common = rng.normal(size=150)
        ours, theirs = common + rng.exponential(size=150), common
        low, high = paired_bootstrap(ours, theirs, confidence=0.9, resamples=400, seed=i)[
            "interval"
        ]
        inside += low <= 1.0 <= high
    # Of 400 at 0.9, four standard errors below and above.
    assert 0.84 <= inside / 400 <= 0.96


def test_repetitions_are_resampled_together():
    # The repetitions share the examples, so that more of them tell no more about the examples.
    differences = np.random.default_rng(4).normal(size=300)
    once = paired_bootstrap(differences, np.zeros(300))
    thrice = paired_bootstrap([differences] * 3, np.zeros((3, 300)))
    np.testing.assert_allclose(thrice["interval"], once["interval"])
    assert thrice["repetitions"] == 3 and thrice["examples"] == 300
    # What differs between repetitions evens out.
    noise = np.random.default_rng(5).normal(size=(50, 300))
    assert paired_bootstrap(noise, 0 * noise)["standard_error"] < 0.2 * once["standard_error"]


def test_the_bootstrap_comes_from_its_seed_and_has_no_width_without_a_difference():
    values = np.random.default_rng(6).normal(size=50)
    one = paired_bootstrap(values, -values, resamples=300, seed=1)
    assert one == paired_bootstrap(values, -values, resamples=300, seed=1)
    assert one != paired_bootstrap(values, -values, resamples=300, seed=2)
    assert paired_bootstrap(values, values)["interval"] == [0, 0]


def test_a_bootstrap_of_other_input_is_refused():
    with pytest.raises(ValueError, match=r"same N >= 2 examples, got shapes \(2,\), \(3,\)"):
        paired_bootstrap([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="same N >= 2"):
        paired_bootstrap([[1], [2]], [[1], [2]])
    with pytest.raises(ValueError, match="must be finite"):
        paired_bootstrap([1, np.nan], [1, 2])
    with pytest.raises(ValueError, match="confidence must lie"):
        paired_bootstrap([1, 2], [1, 2], confidence=95)
    with pytest.raises(ValueError, match="resamples must be >= 1"):
        paired_bootstrap([1, 2], [1, 2], resamples=0)


def test_the_interval_over_seeds_and_images_has_them_at_a_right_angle():
    generator = np.random.Generator(np.random.PCG64(1))
    ours = generator.normal(20, 1, (1, 400)) + np.asarray([[-1.0], [0.5], [0.5]])
    over_seeds_alone = stats.t.ppf(0.975, 2) * stats.sem(ours.mean(1))
    over_images_alone = 1.959964 * stats.sem(ours[0])
    reach = np.hypot(over_seeds_alone, over_images_alone)
    actual = paired_over_both(ours, np.zeros((1, 400)))
    low, high = actual["both"]
    assert (high - low) / 2 == pytest.approx(reach, rel=0.01)
    # One network against several: the same the other way round.
    other = paired_over_both(np.zeros((1, 400)), ours)
    assert other["mean"] == pytest.approx(-actual["mean"])
    assert np.diff(other["both"]) / 2 == pytest.approx(reach, rel=0.01)
    assert paired_over_both(ours[:1], ours[:1] - 1)["both"] is None


@pytest.mark.parametrize("shape", [(2, 10), (3, 9), (10,)])
def test_scores_of_other_seeds_or_images_are_refused(shape):
    with pytest.raises(ValueError, match=r"must be \[R, N\].*got shapes"):
        paired_over_both(np.zeros((3, 10)), np.zeros(shape))


@pytest.mark.parametrize(("successes", "trials"), [(9, 10), (0, 7), (7, 7), (50, 120)])
def test_wilson_s_interval_is_scipy_s(successes, trials):
    wanted = stats.binomtest(successes, trials).proportion_ci(0.9, method="wilson")
    assert wilson(successes, trials, 0.9) == pytest.approx(wanted, abs=1e-9)
    with pytest.raises(ValueError, match="0 to trials"):
        wilson(trials + 1, trials)


def test_the_interval_of_a_ratio_of_deviations_is_pitman_s_and_morgan_s_test():
    generator = np.random.default_rng(0)
    theirs = generator.normal(size=9)
    ours = 0.4 * theirs + 0.4 * generator.normal(size=9)
    # Deviations differ at the level at which sums and differences are correlated.
    p = stats.pearsonr(theirs + ours, theirs - ours).pvalue
    actual = varies_less(ours, theirs, confidence=1 - p)
    assert actual["ratio"] > 1 and actual["interval"][0] == pytest.approx(0, abs=1e-9)
    assert actual["interval"][1] == pytest.approx(2 * np.log(actual["ratio"]))
    assert varies_less([0.9, 0.9, 0.9], theirs[:3])["interval"] is None
    assert varies_less(ours[:2], theirs[:2])["interval"] is None


def test_a_mean_and_its_error_as_text():
    assert mean_and_error(over_seeds([160, 164])) == "162.0 ± 2.0"
    assert mean_and_error(over_seeds([0.5, 0.25]), scale=100, digits=2) == "37.50 ± 12.50"
    assert mean_and_error(over_seeds([63])) == "63"
    assert mean_and_error(over_seeds([0.018]), digits=4) == "0.0180"
