"""The figure of small and sparse networks: what is drawn."""

import numpy as np
import pytest

from cnnlab.report import drawing
from experiments.redundancy import figures

DENSE = {"parameters": [1000], "accuracy": [[0.90, 0.94]]}
SPARSE = {"parameters": [100, 500], "accuracy": [[0.5, 0.7], [0.8, 0.9]]}


def draw(**more):
    return figures.redundancy({"sparse": SPARSE}, DENSE, **more).axes[0]


def test_a_method_is_drawn_in_percent_against_its_parameters_the_largest_first():
    axes = draw()
    (bars,) = axes.containers
    line, _, (stems,) = bars
    np.testing.assert_array_equal(line.get_xdata(), [500, 100])
    np.testing.assert_allclose(line.get_ydata(), [85, 60])
    ends = np.array([path[:, 1] for path in stems.get_segments()])
    error = 100 * np.std([0.8, 0.9], ddof=1) / np.sqrt(2)
    np.testing.assert_allclose(ends[0], [85 - error, 85 + error])
    assert axes.get_xscale() == "log"
    left, right = axes.get_xlim()
    assert left > 1000 and right < 100  # parameters fall to the right


def test_the_dense_network_is_a_line_in_its_band_and_the_margin_another():
    axes = draw(margin=0.05)
    lines = {line.get_label(): line.get_ydata()[0] for line in axes.get_lines()}
    assert lines["dense, 1,000 parameters"] == pytest.approx(92)
    assert lines["5 points under it"] == pytest.approx(87)
    (band,) = axes.patches
    assert band.get_y() == pytest.approx(92 - 2) and band.get_height() == pytest.approx(4)
    assert "2 seeds ± standard error" in axes.get_legend().get_title().get_text()


def test_the_accuracy_is_on_a_scale_of_the_root_of_the_error():
    axes = draw()
    to_pixels = axes.transData.transform
    heights = [to_pixels((100, y))[1] for y in (64, 84, 91)]
    assert (heights[0] - heights[1]) / (heights[1] - heights[2]) == pytest.approx((6 - 4) / (4 - 3))
    assert axes.get_ylim()[1] <= 100


def test_one_seed_has_neither_band_nor_error(tmp_path):
    one = {"parameters": [10], "accuracy": [[1.0]]}
    figure = figures.redundancy({"a": one}, one, title="$5 nets")
    path = drawing.save(figure, tmp_path / "x.png")
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_method_may_be_called_dense():
    figures.redundancy({"dense": SPARSE}, DENSE)
    with pytest.raises(ValueError, match="of the dense network must be"):
        figures.redundancy({"dense": DENSE}, SPARSE)


@pytest.mark.parametrize(
    ("methods", "dense"),
    [
        ({"a": {"parameters": [], "accuracy": []}}, DENSE),
        ({"a": {"parameters": [1, 2], "accuracy": [[0.5]]}}, DENSE),
        ({"a": {"parameters": [1], "accuracy": [[]]}}, DENSE),
        ({}, SPARSE),
    ],
)
def test_networks_that_cannot_be_drawn_are_refused(methods, dense):
    with pytest.raises(ValueError, match=r"must be \[P, M\]"):
        figures.redundancy(methods, dense)
