"""The figures of teachers and students: what is drawn."""

import numpy as np
import pytest

from cnnlab.report import drawing
from experiments.distill import figures

ROWS = {"teacher": [67], "alone": [146, 150, 142], "distilled": [74, 74, 80]}


def test_each_seed_is_a_dot_and_the_mean_has_its_number(tmp_path):
    figure = figures.errors(ROWS, examples=10_000, title="$5 digits")
    axes = figure.axes[0]
    dots = [line for line in axes.get_lines() if line.get_alpha()]  # one seed is its mean
    several = [(1, ROWS["alone"]), (2, ROWS["distilled"])]
    for line, (place, wanted) in zip(dots, several, strict=True):
        np.testing.assert_allclose(line.get_xdata(), wanted)
        np.testing.assert_allclose(np.mean(line.get_ydata()), place)
        assert len(set(line.get_ydata())) == len(wanted)
    means = [bars[0].get_xdata()[0] for bars in axes.containers]
    np.testing.assert_allclose(means, [67, 146, 76])
    assert [text.get_text() for text in axes.texts if text.get_text() != "teacher"] == [
        "67 (0.67 %)",
        "146 ± 2.3 (1.46 %)",
        "76 ± 2 (0.76 %)",
    ]
    assert [label.get_text() for label in axes.get_yticklabels()] == list(ROWS)
    assert axes.yaxis_inverted() and "10,000 test examples" in axes.get_xlabel()
    path = drawing.save(figure, tmp_path / "errors.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_classes_have_the_mean_of_the_seeds_in_percent_and_missing_ones_are_shaded(tmp_path):
    rows = {"as it is": [[0.02, 0.5], [0.04, 0.7]], "with a bias": [[0.03, 0.1], [0.05, 0.1]]}
    figure = figures.by_class(rows, ("2", "3"), missing=[1])
    axes = figure.axes[0]
    first, second = (bars[0] for bars in axes.containers)
    np.testing.assert_allclose(first.get_ydata(), [3, 60])
    np.testing.assert_allclose(second.get_ydata(), [4, 10])
    lows_and_highs = [segment[:, 1] for segment in axes.collections[0].get_segments()]
    np.testing.assert_allclose(lows_and_highs, [[2, 4], [50, 70]])
    (shade,) = axes.patches
    assert (shade.get_x(), shade.get_width()) == (0.5, 1)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(rows)
    path = drawing.save(figure, tmp_path / "by_class.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_invalid_data_for_a_figure_are_refused():
    for rows in ({}, {"teacher": []}, {"teacher": [[1.0]]}):
        with pytest.raises(ValueError, match="one seed or more"):
            figures.errors(rows, examples=10)
    for rows in ({}, {"a": [0.1, 0.2]}, {"a": [[0.1, 0.2, 0.3]]}, {"a": np.zeros((0, 2))}):
        with pytest.raises(ValueError, match=r"rows must be \[M, 2\]"):
            figures.by_class(rows, ("2", "3"))
