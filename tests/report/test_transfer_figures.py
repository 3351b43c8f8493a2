"""The figures of transfer: what is drawn."""

import numpy as np
import pytest

from cnnlab.report import transfer_figures as figures

BASE = [0.5, 0.7]
KEPT = figures.Treatment([2, 1], [[0.4, 0.5], [0.5, 0.8]])
STAGES = {1: "stem", 2: "stage1"}

CELLS = {
    (amount, similarity): figures.Cell(
        {"linear": [0.6, 0.9], "from scratch": [0.5, 0.7]}, ["linear"]
    )
    for amount in ("little", "a lot")
    for similarity in ("similar", "different")
}


def test_differences_are_from_the_base_of_the_same_repetition_with_their_interval():
    panels = {"halves": figures.Panel(BASE, {"AnB": KEPT})}
    above, below = figures.draw_transferability(panels, STAGES).axes
    lines = {line.get_label(): line for line in above.get_lines()}
    np.testing.assert_allclose(lines["AnB"].get_xdata(), [1, 2])
    np.testing.assert_allclose(lines["AnB"].get_ydata(), [65, 45])
    assert lines["base network"].get_ydata()[0] == pytest.approx(60)
    (bars,) = below.containers
    line, _, (stems,) = bars
    np.testing.assert_allclose(line.get_ydata(), [5, -15])
    # Student's t with one degree of freedom: 12.706 standard errors, here 5 points both times.
    ends = np.array([path[:, 1] for path in stems.get_segments()])
    np.testing.assert_allclose(
        ends, [[5 - 63.53, 5 + 63.53], [-15 - 63.53, -15 + 63.53]], atol=0.01
    )
    assert [tick.get_text() for tick in below.get_xticklabels()] == ["1\nstem", "2\nstage1"]


def test_one_repetition_has_no_interval(tmp_path):
    panels = {"halves": figures.Panel([0.5], {"AnB": figures.Treatment([1], [[0.4]])})}
    path = figures.transferability(panels, STAGES, tmp_path / "x.png", title="$5 nets")
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("panels", "message"),
    [
        ({}, "a panel to draw"),
        ({"halves": figures.Panel(BASE, {})}, "a treatment in each"),
        ({"halves": figures.Panel([0.5], {"AnB": KEPT})}, r"must be \[P, R\]"),
        ({"halves": figures.Panel(BASE, {"AnB": KEPT._replace(depths=[1])})}, "AnB in halves"),
    ],
)
def test_panels_that_do_not_agree_are_refused(panels, message):
    with pytest.raises(ValueError, match=message):
        figures.draw_transferability(panels, STAGES)


def test_a_cell_bands_the_recommended_rings_the_best_and_says_the_paired_difference():
    figure = figures.draw_transfer_grid(CELLS, "from scratch")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [
        "little, similar", "little, different", "a lot, similar", "a lot, different",
    ]  # fmt: skip
    axes = figure.axes[0]
    (band,) = axes.patches
    assert band.get_y() == pytest.approx(-0.42)  # the first row, of the linear classifier
    (ring,) = [line for line in axes.get_lines() if line.get_markersize() == 14]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (pytest.approx(75), 0)
    (said,) = axes.texts  # 10 and 20 points: 15 with an interval of 12.706 * 5
    assert said.get_text() == "+15.0 (-48.5 to +78.5)"


def test_the_grid_is_saved_and_one_seed_has_no_interval(tmp_path):
    one = {
        place: figures.Cell({"linear": [0.6], "from scratch": [0.5]}, ["linear"]) for place in CELLS
    }
    path = figures.transfer_grid(one, "from scratch", tmp_path / "x.png", title="$5 nets")
    assert path.read_bytes().startswith(b"\x89PNG")
    (said,) = figures.draw_transfer_grid(one, "from scratch").axes[0].texts
    assert said.get_text() == "+10.0"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({}, "every amount"),
        ({place: CELLS[place] for place in list(CELLS)[:3]}, r"lacking are \[\('a lot', 'diff"),
        ({("little", "similar"): figures.Cell({"linear": [0.6]})}, "must have 'from scratch'"),
        (
            {("little", "similar"): figures.Cell({"linear": [0.6], "from scratch": [0.5, 0.6]})},
            "of the same seeds",
        ),
    ],
)
def test_grids_that_cannot_be_drawn_are_refused(cells, message):
    with pytest.raises(ValueError, match=message):
        figures.draw_transfer_grid(cells, "from scratch")
