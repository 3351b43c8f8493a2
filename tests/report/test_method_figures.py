"""Methods side by side, and accuracy by the number of members: what is drawn."""

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from cnnlab.report import drawing, method_figures

CURVES = {
    "snapshots": {
        "members": [1, 2, 3],
        "mean": [0.90, 0.91, 0.92],
        "low": [0.89, 0.90, 0.91],
        "high": [0.92, 0.93, 0.94],
    },
    "independent": {"members": [1, 2, 5], "mean": [0.90, 0.92, 0.94]},
    "single": {"members": [1], "mean": [0.93], "low": [0.92], "high": [0.935]},
}
ROWS = [
    {
        "name": "single",
        "group": "equal budget",
        "error": {"mean": 0.081, "low": 0.079, "high": 0.084},
        "nll": {"mean": 0.25, "low": 0.24, "high": 0.27},
    },
    {
        "name": "snapshots",
        "group": "equal budget",
        "error": {"mean": 0.07, "low": None, "high": None},
        "nll": None,
    },
    {
        "name": "ensemble $5",
        "group": "M budgets",
        "error": {"mean": 0.06},
        "nll": {"mean": 0.2, "low": 0.19, "high": 0.21},
    },
]


def points(axes):
    """The single points: (x, y, colour)."""
    return [
        (bars[0].get_xdata()[0], bars[0].get_ydata()[0], bars[0].get_color())
        for bars in axes.containers
    ]


def test_accuracy_is_drawn_in_percent_against_the_members():
    (axes,) = method_figures.by_members(CURVES).axes
    first, second, third = axes.get_lines()
    np.testing.assert_allclose(first.get_ydata(), [90, 91, 92])
    np.testing.assert_array_equal(second.get_xdata(), [1, 2, 5])
    np.testing.assert_allclose(third.get_ydata(), [93])
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in axes.lines}
    assert len(looks) == 3
    band, stick = axes.collections  # none for the curve without ends
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((89, 94))
    np.testing.assert_allclose(stick.get_segments()[0], [[1, 92], [1, 93.5]])


def test_the_legend_has_the_last_points_best_first():
    (axes,) = method_figures.by_members(CURVES).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "independent: 94.00 % with 5",
        "single: 93.00 % with 1",
        "snapshots: 92.00 % with 3",
    ]


def test_rows_are_drawn_from_top_to_bottom_with_their_intervals_and_numbers():
    error, nll = method_figures.comparison(ROWS).axes
    np.testing.assert_allclose([p[:2] for p in points(error)], [(8.1, 0), (7, 1), (6, 2)])
    np.testing.assert_allclose([p[:2] for p in points(nll)], [(0.25, 0), (0.2, 2)])
    assert error.get_ylim()[0] > error.get_ylim()[1]
    assert [t.get_text() for t in error.get_yticklabels()] == ["single", "snapshots", "ensemble $5"]
    assert [t.get_text() for t in error.texts] == ["8.10  [7.90, 8.40]", "7.00", "6.00"]
    assert nll.texts[0].get_text() == "0.2500  [0.2400, 0.2700]"
    (interval,) = error.containers[0][2][0].get_segments()
    np.testing.assert_allclose(interval[:, 0], [7.9, 8.4])


def test_groups_have_their_colours_and_a_legend():
    figure = method_figures.comparison(ROWS)
    colours = [colour for _, _, colour in points(figure.axes[0])]
    assert colours[0] == colours[1] != colours[2]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["equal budget", "M budgets"]
    looks = [np.ravel(handle.get_color())[:4] for handle in legend.legend_handles]
    np.testing.assert_allclose(
        [to_rgba(*look) if look.size == 1 else look for look in looks],
        [to_rgba(each) for each in colours[1:]],
    )


def test_twenty_rows_do_not_touch():
    rows = [ROWS[i % 2] | {"name": f"method {i}"} for i in range(20)]
    figure = method_figures.comparison(rows)
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
    assert all(above.y0 > below.y1 for above, below in itertools.pairwise(boxes))
    numbers = [text.get_window_extent() for text in figure.axes[0].texts]
    assert max(box.x1 for box in numbers) < figure.axes[1].get_window_extent().x0
    assert min(box.x0 for box in boxes) >= 0


def test_both_are_saved_as_png(tmp_path):
    one = drawing.save(method_figures.by_members(CURVES, title="title"), tmp_path / "a.png")
    two = drawing.save(method_figures.comparison(ROWS, title="title, $5"), tmp_path / "b.png")
    assert one.read_bytes()[:4] == two.read_bytes()[:4] == b"\x89PNG"


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="a curve to draw"):
        method_figures.by_members({})
    with pytest.raises(ValueError, match="a row to draw"):
        method_figures.comparison([])
    with pytest.raises(ValueError, match="'x' must be equally many"):
        method_figures.by_members({"x": {"members": [1, 2], "mean": [0.9]}})
    with pytest.raises(ValueError, match="got 90 to 91 for 'x'. Divide per cent by 100"):
        method_figures.by_members({"x": {"members": [1, 2], "mean": [90, 91]}})
    with pytest.raises(ValueError, match="for 'single'"):
        method_figures.comparison([{**ROWS[0], "error": {"mean": 8.1}}])
