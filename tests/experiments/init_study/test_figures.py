"""The figures of initialisations: what is drawn."""

import numpy as np
import pytest

from cnnlab.diagnose import LayerStatistics, Values
from experiments.init_study import figures


def values(std, counts=(1, 8, 1), zeros=0.0):
    edges = np.linspace(-std, std, len(counts) + 1)
    return Values(np.float32(0), np.float32(std), zeros, 0.0, 0.0, np.array(counts), edges)


def layer(name, std, **more):
    return LayerStatistics(name, values(std, **more), values(std), 1.0, 2 * std, 1.0, 3 * std)


STATISTICS = {
    "he": [
        [layer("stem/conv", 1.0), layer("stage1/block0/conv1", 4.0, zeros=0.5)],
        [layer("stem/conv", 4.0), layer("stage1/block0/conv1", 1.0)],
    ],
    "0.01": [[layer("stem/conv", 0.0), layer("stage1/block0/conv1", 1.0)]] * 2,
}


def test_histograms_have_a_row_an_initialisation_and_a_column_a_layer():
    figure = figures.inputs(STATISTICS, "$5 net")
    assert len(figure.axes) == 4 and figure.get_suptitle().startswith("$5 net")
    first, second, third, _ = figure.axes
    assert first.get_title() == "stem\n0 ± 1" and second.get_title() == "1.0 conv1\n0 ± 4"
    assert third.get_title() == "0 ± 0" and third.get_ylabel() == "0.01"
    (steps,) = first.patches
    np.testing.assert_array_equal(steps.get_data().values, [1, 8, 1])
    assert first.get_ylim()[1] == pytest.approx(2.2)  # the spike is cut off at twice the others
    assert [text.get_text() for text in second.texts] == ["50 % zero"]
    with pytest.raises(ValueError, match="a value for each of 2 columns, got 1"):
        figures.histograms({"he": [values(1.0)]}, ["a", "b"])


def test_deviations_are_geometric_means_in_bands_and_zeros_leave_gaps():
    forward, backward, relative = figures.deviations(STATISTICS, "net").axes
    he, small = forward.get_lines()
    np.testing.assert_allclose(he.get_ydata(), [2, 2])
    np.testing.assert_allclose(small.get_ydata(), [np.nan, 1])
    heights = forward.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (1, 4)
    np.testing.assert_allclose(backward.get_lines()[0].get_ydata(), [4, 4])
    np.testing.assert_allclose(relative.get_lines()[0].get_ydata(), [6, 6])
    assert forward.get_yscale() == "log"
    ticks = [tick.get_text() for tick in forward.get_xticklabels()]
    assert ticks == ["stem", "1.0 conv1"]
    assert "2 seeds" in relative.get_legend().get_title().get_text()


def test_learning_is_the_mean_over_seeds_with_notes_and_a_diverged_one_has_no_line():
    panels = {
        "training loss": {"he": [[2.0, 4.0], [0.1, 0.3]], "zeros": []},
        "validation accuracy": {"he": [[0.5, 0.7], [0.8, 0.8]], "zeros": []},
    }
    loss, accuracy = figures.learning(panels, notes={"zeros": "diverged at step 3"}).axes
    np.testing.assert_allclose(loss.get_lines()[0].get_xydata(), [[1, 3], [2, 0.2]])
    assert (loss.get_yscale(), accuracy.get_ylim()) == ("log", (-0.02, 1.02))
    assert not len(accuracy.get_lines()[1].get_xdata())
    labels = [text.get_text() for text in accuracy.get_legend().get_texts()]
    assert labels == ["he", "zeros, diverged at step 3"]
