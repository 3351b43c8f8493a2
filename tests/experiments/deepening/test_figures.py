"""The figure of deepening: what is drawn is what was measured."""

import numpy as np
import pytest

from cnnlab.report import drawing
from experiments.deepening import figures


def test_growth_shows_both_errors_and_where_networks_grow(tmp_path):
    errors = {"train": [[0.5, 0.6], [0.1, 0.2], [0.0, 0.1]], "test": [[0.6, 0.6]] * 3}
    methods = {"grown": errors, "He": errors}
    figure = figures.growth(methods, grown_at=2, guessing=0.9)
    for axes, part in zip(figure.axes, ("train", "test"), strict=True):
        guessing, grown, _, growing = axes.get_lines()
        np.testing.assert_allclose(grown.get_ydata(), 100 * np.mean(errors[part], 1))
        assert growing.get_xdata()[0] == 2.5 and guessing.get_ydata()[0] == 90
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert {"guessing", "networks grow"} < set(labels)
    path = drawing.save(figure, tmp_path / "growth.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="must have errors"):
        figures.growth({}, grown_at=1)
