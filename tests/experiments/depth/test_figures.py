"""The figure of networks of several depths: what is drawn."""

import numpy as np
import pytest

from experiments.depth import figures

TRAIN, TEST = [[0.5, 0.7], [0.1, 0.3]], [[0.6, 0.8], [0.2, 0.5]]
PANELS = {
    "plain": {"20 layers": {"train": TRAIN, "test": TEST}},
    "residual": {"20 layers": {"train": TEST, "test": TRAIN}},
}


def test_a_panel_shows_mean_errors_in_percent_test_bold_training_thin():
    plain, residual = figures.errors(PANELS).axes
    train, test = plain.get_lines()
    np.testing.assert_allclose(train.get_ydata(), [60, 20])
    np.testing.assert_allclose(test.get_ydata(), [70, 35])
    np.testing.assert_array_equal(test.get_xdata(), [1, 2])
    assert test.get_linewidth() > 1.5 * train.get_linewidth()
    np.testing.assert_allclose(residual.get_lines()[1].get_ydata(), [60, 20])
    assert residual.get_title() == "residual" and plain.get_ylim() == residual.get_ylim()


def test_the_band_is_the_standard_error_and_the_legend_says_it():
    plain = figures.errors(PANELS).axes[0]
    heights = plain.collections[1].get_paths()[0].vertices[:, 1]
    error = 100 * np.std([0.2, 0.5], ddof=1) / np.sqrt(2)
    assert heights.min() == pytest.approx(35 - error)
    (text,) = plain.get_legend().get_texts()
    assert text.get_text() == "20 layers, last 35.00 ± 15 %"
    assert "2 seeds" in plain.get_legend().get_title().get_text()


def test_a_network_without_an_epoch_is_refused():
    with pytest.raises(ValueError, match="must have an epoch"):
        figures.errors({"plain": {"8": {"train": [], "test": []}}})
    with pytest.raises(ValueError, match="must have an epoch"):
        figures.errors({})
