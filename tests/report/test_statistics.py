"""Figures over seeds."""

import numpy as np
import pytest
from scipy import stats

from cnnlab.report.statistics import over_seeds, percent


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
