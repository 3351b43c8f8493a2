"""The figure of transferability: what is drawn."""

import numpy as np
import pytest

from cnnlab.report import drawing
from experiments.transferability import figures
from experiments.transferability.config import TREATMENTS

BASE = [0.5, 0.7]
KEPT = [[0.5, 0.8], [0.4, 0.5]]
STAGES = {1: "stem", 2: "stage1"}


def test_differences_are_from_the_base_of_the_same_repetition_with_their_interval():
    cuts = {"halves": {"base": BASE, "AnB": KEPT}}
    above, below = figures.transferability(cuts, STAGES).axes
    lines = {line.get_label(): line for line in above.get_lines()}
    np.testing.assert_allclose(lines[TREATMENTS["AnB"]].get_xdata(), [1, 2])
    np.testing.assert_allclose(lines[TREATMENTS["AnB"]].get_ydata(), [65, 45])
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
    cuts = {"halves": {"base": [0.5], "AnB": [[0.4]]}}
    figure = figures.transferability(cuts, {1: "stem"}, title="$5 nets")
    path = drawing.save(figure, tmp_path / "x.png")
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ({}, "a cut to draw"),
        ({"halves": {"base": BASE}}, "a treatment in each"),
        ({"halves": {"base": [0.5], "AnB": KEPT}}, r"must be \[P, R\]"),
        ({"halves": {"base": BASE, "AnB": KEPT[:1]}}, "AnB in halves"),
    ],
)
def test_accuracies_that_do_not_agree_are_refused(cuts, message):
    with pytest.raises(ValueError, match=message):
        figures.transferability(cuts, STAGES)
