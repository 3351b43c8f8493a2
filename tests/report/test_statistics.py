"""Figures over seeds."""

import numpy as np
import pytest
from scipy import stats

from cnnlab.report.statistics import (
    over_seeds,
    paired,
    paired_bootstrap,
    percent,
    points,
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
    told = points({**figure, "confidence": 0.9}, 1, of="over images")
    assert told == "+1.2 points (90 % interval over images -0.4 to +2.1)"
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
