"""Figures over seeds."""

import numpy as np
import pytest
from scipy import stats

from cnnlab.report.statistics import over_seeds, paired, percent


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
