"""The figure of the grid of amount and similarity: what is drawn."""

import pytest

from cnnlab.report import drawing
from experiments.transfer_grid import figures

CELLS = {
    (amount, similarity): figures.Cell(
        {"linear": [0.6, 0.9], "from scratch": [0.5, 0.7]}, ["linear"]
    )
    for amount in ("little", "a lot")
    for similarity in ("similar", "different")
}


def test_a_cell_bands_the_recommended_rings_the_best_and_says_the_paired_difference():
    figure = figures.transfer_grid(CELLS, "from scratch")
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == [
        "little, similar", "little, different", "a lot, similar", "a lot, different",
    ]  # fmt: skip
    axes = figure.axes[0]
    (band,) = axes.patches
    assert band.get_y() == pytest.approx(-0.42)  # the first row, of the linear classifier
    (ring,) = [line for line in axes.get_lines() if line.get_markersize() == 14]
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (pytest.approx(75), 0)
    (note,) = axes.texts  # 10 and 20 points: 15 with an interval of 12.706 * 5
    assert note.get_text() == "+15.0 (-48.5 to +78.5)"


def test_the_grid_is_saved_and_one_seed_has_no_interval(tmp_path):
    one = {
        place: figures.Cell({"linear": [0.6], "from scratch": [0.5]}, ["linear"]) for place in CELLS
    }
    figure = figures.transfer_grid(one, "from scratch", title="$5 nets")
    assert drawing.save(figure, tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    (note,) = figure.axes[0].texts
    assert note.get_text() == "+10.0"


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
        figures.transfer_grid(cells, "from scratch")
