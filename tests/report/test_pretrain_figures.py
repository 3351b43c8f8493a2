"""Figures of pretraining and growing: what is drawn is what was measured."""

import numpy as np
import pytest
from scipy import stats

from cnnlab.report import pretrain_figures

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
    figure = pretrain_figures.draw_accuracy(CURVES, baseline="no pretraining")
    left, right = figure.axes
    mean, reach = bars(left, 0)
    np.testing.assert_allclose(mean, 100 * VALUES.mean(1))
    np.testing.assert_allclose(reach, 100 * stats.t.ppf(0.975, 2) * stats.sem(VALUES, axis=1))
    gain, reach = bars(right, 0)
    np.testing.assert_allclose(gain, [100 * 0.31 / 3, 1 / 3])
    np.testing.assert_allclose(reach[1], stats.t.ppf(0.975, 2) / 3)
    assert len(right.containers) == 1 and len(left.containers) == 2
    with pytest.raises(ValueError, match=r"\[P, M\] for 1 numbers"):
        pretrain_figures.draw_accuracy({"x": {"labels": [1], "accuracy": VALUES}})


def test_filters_are_the_columns_with_the_largest_norm():
    kernel = np.zeros((6, 3))
    kernel[1, 2], kernel[4, 0] = -4.0, 2.0
    figure = pretrain_figures.draw_filters({"layer": kernel}, (2, 3, 1), count=2)
    (image,) = figure.axes[0].get_images()
    shown = image.get_array()
    assert shown.shape == (2, 7)  # two of 2 x 3 and a line between
    np.testing.assert_array_equal(shown[:, :3], [[0, -1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(shown[:, 3], [1, 1])
    np.testing.assert_array_equal(shown[:, 4:], [[0, 0, 0], [0, 1, 0]])
    with pytest.raises(ValueError, match="D the pixels of"):
        pretrain_figures.draw_filters({"layer": kernel}, (2, 2, 1))


def test_growth_shows_both_errors_and_where_networks_grow(tmp_path):
    errors = {"train": [[0.5, 0.6], [0.1, 0.2], [0.0, 0.1]], "test": [[0.6, 0.6]] * 3}
    methods = {"grown": errors, "He": errors}
    figure = pretrain_figures.draw_growth(methods, grown_at=2, guessing=0.9)
    for axes, part in zip(figure.axes, ("train", "test"), strict=True):
        drawn = axes.get_lines()
        np.testing.assert_allclose(drawn[0].get_ydata(), 100 * np.mean(errors[part], 1))
        assert drawn[2].get_xdata()[0] == 2.5 and drawn[3].get_ydata()[0] == 90
    path = pretrain_figures.growth(methods, tmp_path / "growth.png", grown_at=2)
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="must have errors"):
        pretrain_figures.draw_growth({}, grown_at=1)
