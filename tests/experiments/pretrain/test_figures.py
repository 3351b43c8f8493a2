"""The figure of pretraining: what is drawn is what was measured."""

import numpy as np
import pytest
from scipy import stats

from experiments.pretrain import figures

VALUES = np.array([[0.5, 0.6, 0.55], [0.8, 0.82, 0.79]])
GAIN = np.array([[0.1, 0.1, 0.11], [0, 0.01, 0.0]])
CURVES = {
    "no pretraining": {"labels": [10, 100], "accuracy": VALUES},
    "pretrained": {"labels": [10, 100], "accuracy": VALUES + GAIN},
}


def bars(axes, index):
    line, _, (segments,) = axes.containers[index].lines
    return line.get_ydata(), np.array([np.ptp(each[:, 1]) / 2 for each in segments.get_segments()])


def test_accuracies_and_paired_gains_have_student_s_intervals():
    figure = figures.accuracy(CURVES, baseline="no pretraining")
    left, right = figure.axes
    mean, reach = bars(left, 0)
    np.testing.assert_allclose(mean, 100 * VALUES.mean(1))
    np.testing.assert_allclose(reach, 100 * stats.t.ppf(0.975, 2) * stats.sem(VALUES, axis=1))
    gain, reach = bars(right, 0)
    np.testing.assert_allclose(gain, [100 * 0.31 / 3, 1 / 3])
    np.testing.assert_allclose(reach[1], stats.t.ppf(0.975, 2) / 3)
    assert len(right.containers) == 1 and len(left.containers) == 2
    with pytest.raises(ValueError, match=r"\[P, M\] for 1 numbers"):
        figures.accuracy({"x": {"labels": [1], "accuracy": VALUES}})
