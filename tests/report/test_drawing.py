"""The kit of figures: what is drawn, from the Figure objects, and what is saved."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy import stats

from cnnlab.report import drawing, mosaics, plots, scales

SEEDS = np.array([0.5, 0.6, 0.55])


def one_panel():
    figure, [[axes]] = drawing.figure()
    return figure, axes


def segments(container, axis):
    """The ends of error bars on an axis, [P, 2]."""
    return np.array([each[:, axis] for each in container[2][0].get_segments()])


# The figure, looks and intervals --------------------------------------------------------------


def test_a_figure_has_its_axes_in_rows_and_a_title_that_fits():
    figure, grid = drawing.figure(3, 2, size=(6, 4), title="a long title of $5 " * 8, share_y="row")
    assert grid.shape == (2, 3) and tuple(figure.get_size_inches()) == (6, 4)
    figure.draw_without_rendering()
    box = figure._suptitle.get_window_extent()
    assert box.x0 > 0 and box.x1 < figure.bbox.x1
    grid[0, 0].set_ylim(0, 7)
    assert grid[0, 2].get_ylim() == (0, 7) and grid[1, 0].get_ylim() == (0, 1)


def test_thirty_looks_are_all_different_and_ten_colours_are():
    looks = [drawing.look(i) for i in range(30)]
    assert len(set(looks)) == 30
    assert len({each.colour for each in looks[:10]}) == 10
    others = [drawing.look(i, black=False) for i in range(27)]
    assert others == [look for look in looks if look.colour != "#000000"]


def test_intervals_over_seeds_are_what_they_are_called():
    mean, low, high = drawing.over_seeds([SEEDS, SEEDS + 1], "95 % interval")
    reach = stats.t.ppf(0.975, 2) * stats.sem(SEEDS)
    np.testing.assert_allclose(mean, [0.55, 1.55])
    np.testing.assert_allclose(high - mean, [reach] * 2)
    np.testing.assert_allclose(mean - low, [reach] * 2)
    _, low, high = drawing.over_seeds(SEEDS)
    np.testing.assert_allclose([low, high], 0.55 + np.array([-1, 1]) * stats.sem(SEEDS))
    assert drawing.over_seeds(SEEDS, "range")[1:] == (0.5, 0.6)
    assert np.isnan(drawing.over_seeds([0.5, np.nan])[0])
    assert len(set(map(float, drawing.over_seeds([0.5])))) == 1


def test_a_figure_is_saved_as_png_in_a_new_folder_and_other_suffixes_are_refused(tmp_path):
    figure, _ = one_panel()
    path = drawing.save(figure, tmp_path / "figures" / "a.png")
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    with pytest.raises(ValueError, match=r"must end in \.png"):
        drawing.save(figure, tmp_path / "a.jpg")
    assert [each.name for each in tmp_path.iterdir()] == ["figures"]


def test_matplotlib_is_loaded_by_the_first_figure_and_pyplot_never():
    code = (
        "import sys; from cnnlab.report import drawing, mosaics, plots, scales; "
        "assert 'matplotlib' not in sys.modules; "
        "_, [[axes]] = drawing.figure(); plots.series(axes, {'a': plots.mean_curve([[1.0]])}); "
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Dots ----------------------------------------------------------------------------------------


def test_a_row_has_its_mean_interval_seeds_and_texts():
    _, axes = one_panel()
    rows = [
        plots.mean_dot("linear $5", SEEDS, scale=100, text="{:.1f}", note="12 s"),
        plots.Dot("diverged", None),
        plots.mean_dot("one seed", [0.7], scale=100),
    ]
    plots.dots(axes, rows)
    first, last = axes.containers
    np.testing.assert_allclose(first[0].get_xydata(), [[55, 0]])
    np.testing.assert_allclose(last[0].get_xydata(), [[70, 2]])
    reach = 100 * stats.t.ppf(0.975, 2) * stats.sem(SEEDS)
    np.testing.assert_allclose(segments(first, 0), [[55 - reach, 55 + reach]])
    assert not last[2]
    (seeds,) = [line for line in axes.get_lines() if len(line.get_xdata()) == 3]
    np.testing.assert_allclose(seeds.get_xdata(), 100 * SEEDS)
    assert len(set(seeds.get_ydata())) == 3 and np.mean(seeds.get_ydata()) == pytest.approx(0)
    assert [text.get_text() for text in axes.texts] == ["12 s", "55.0"]
    assert [text.get_text() for text in axes.get_yticklabels()] == [row.label for row in rows]
    assert axes.yaxis_inverted()
    assert first[0].get_color() != last[0].get_color()  # no groups: each its own look


def test_an_interval_may_reach_further_to_one_side():
    _, axes = one_panel()
    plots.dots(axes, [plots.Dot("a", 2.0, 1.5, 4.0)])
    np.testing.assert_allclose(segments(axes.containers[0], 0), [[1.5, 4.0]])


def test_groups_share_a_look_are_in_the_legend_once_and_have_a_line_between():
    figure, axes = one_panel()
    rows = [plots.Dot(str(i), float(i), group=group) for i, group in enumerate("aab")]
    plots.dots(axes, rows, groups="ba")
    colours = [each[0].get_color() for each in axes.containers]
    assert colours == [drawing.look(1).colour] * 2 + [drawing.look(0).colour]
    assert [set(line.get_ydata()) for line in axes.get_lines()].count({1.5}) == 1
    drawing.figure_legend(figure, labels=["b", "a"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["b", "a"]


def test_a_reference_line_has_its_label_in_a_strip_without_rows():
    figure, axes = one_panel()
    plots.dots(axes, [plots.Dot("a", 90.0), plots.Dot("b", 50.0)], lines={"guessing": 10.0})
    (line,) = [line for line in axes.get_lines() if list(line.get_xdata()) == [10, 10]]
    assert line.get_linestyle() == ":"
    figure.draw_without_rendering()
    bottom = axes.texts[0].get_window_extent().y0
    assert bottom > axes.transData.transform((0, -0.5))[1]


# Curves --------------------------------------------------------------------------------------


def test_a_curve_is_the_mean_in_its_band_and_its_last_value_is_legible():
    _, axes = one_panel()
    values = np.array([[1.0, 3.0], [4.0, 8.0]])
    curve = plots.mean_curve(values, scale=10)
    plots.series(axes, {"a": curve, "one seed": plots.mean_curve([[1.0], [2.0]], [5, 7])})
    first, second = axes.get_lines()
    np.testing.assert_allclose(first.get_xydata(), [[1, 20], [2, 60]])
    np.testing.assert_allclose(second.get_xydata(), [[5, 1], [7, 2]])
    (band,) = axes.collections
    heights = band.get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((10, 80))  # errors of 10 and 20
    assert curve.last("{:.1f}") == "60.0 ± 20 %"
    assert plots.mean_curve([[1.0], [np.nan]]).last(unit="") == "1.00"
    assert (first.get_color(), first.get_linestyle()) != (second.get_color(), "-")


def test_bars_lie_side_by_side_also_on_a_logarithmic_axis():
    _, axes = one_panel()
    curves = {name: plots.mean_curve([SEEDS, SEEDS], [0, 1], "range") for name in "ab"}
    plots.series(axes, curves, intervals="bars", spread=0.1)
    xs = [each[0].get_xdata() for each in axes.containers]
    np.testing.assert_allclose(xs, [[-0.05, 0.95], [0.05, 1.05]])
    np.testing.assert_allclose(segments(axes.containers[0], 1), [[0.5, 0.6]] * 2)
    _, axes = one_panel()
    scales.log_counts(axes, [10, 1000])
    curves = {name: plots.mean_curve([SEEDS, SEEDS], [10, 1000]) for name in "ab"}
    plots.series(axes, curves, intervals="bars", spread=0.21)
    (left, _), (right, _) = [each[0].get_xdata() for each in axes.containers]
    assert right / left == pytest.approx(1.21) and left * right == pytest.approx(100)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["10", "1,000"]


def test_few_points_have_markers_and_a_single_one_a_stick_for_a_band():
    _, axes = one_panel()
    plots.series(
        axes,
        {
            "one": plots.Curve([1], [2.0], [1.0], [4.0]),
            "many": plots.Curve(range(50), np.ones(50)),
            "hollow": plots.Curve([1, 2], [1, 2], look=drawing.Look("red", "s", "--", hollow=True)),
        },
        lines={"its own": 3.0},
    )
    own, one, many, hollow = axes.get_lines()
    assert own.get_ydata()[0] == 3 and own.get_label() == "its own"
    assert (one.get_marker(), many.get_marker()) == ("o", "None")
    assert (hollow.get_markerfacecolor(), hollow.get_linestyle()) == ("white", "--")
    (stick,) = axes.collections
    np.testing.assert_allclose(stick.get_segments()[0], [[1, 1], [1, 4]])


def test_seeds_are_dots_at_the_places_of_their_curve():
    _, axes = one_panel()
    plots.series(axes, {"a": plots.Curve([1, 2], [0.5, 0.5], seeds=[[0.4, 0.6], [0.5, 0.5]])})
    seeds, _ = axes.get_lines()
    np.testing.assert_allclose(seeds.get_xydata(), [[1, 0.4], [1, 0.6], [2, 0.5], [2, 0.5]])


@pytest.mark.parametrize("where", ["below", "right"])
def test_a_legend_covers_neither_data_nor_ticks_and_is_on_the_figure(where):
    figure, grid = drawing.figure(2, size=(11, 5), title="two panels")
    for axes in grid[0]:
        plots.series(axes, {f"method {i}": plots.mean_curve([[i], [i]]) for i in range(7)})
        scales.names(axes, ["a rather long name"] * 8)
        drawing.set_labels(axes, x="stage", y="accuracy (%)", title="$5 panel")
        drawing.legend(axes, where, "mean of 5 seeds")
    figure.draw_without_rendering()
    for axes in grid[0]:
        box = axes.get_legend().get_window_extent()
        assert box.y0 >= 0 and box.x1 <= figure.bbox.x1
        if where == "below":
            assert box.y1 <= axes.xaxis.get_tightbbox().y0
        else:
            assert box.x0 >= axes.get_window_extent().x1


def test_a_legend_of_the_figure_has_each_label_of_all_panels_once():
    figure, [[left, right]] = drawing.figure(2)
    plots.series(left, {"a": plots.mean_curve([[1.0]]), "_hidden": plots.mean_curve([[2.0]])})
    plots.series(right, {"a": plots.mean_curve([[1.0]]), "b": plots.mean_curve([[2.0]])})
    drawing.figure_legend(figure, "one seed")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert legend.get_title().get_text() == "one seed"


# Scales --------------------------------------------------------------------------------------


def test_names_are_at_whole_numbers_and_slanted_where_they_would_touch():
    _, axes = one_panel()
    scales.names(axes, ["stem", "head"])
    assert list(axes.get_xticks()) == [0, 1]
    assert {tick.get_rotation() for tick in axes.get_xticklabels()} == {0}
    scales.names(axes, [f"a long name, {i}" for i in range(100)], most=12)
    ticks = axes.get_xticklabels()
    assert len(ticks) == 12 and ticks[-1].get_text() == "a long name, 99"
    assert {tick.get_rotation() for tick in ticks} == {40}


def test_spans_needs_positive_values_that_span_the_factor():
    assert scales.spans(np.array([1.0, np.nan, 40.0]), 30)
    assert not scales.spans(np.array([0.0, 40.0]), 30)
    assert not scales.spans(np.array([2.0, 40.0]), 30)


# Mosaics -------------------------------------------------------------------------------------


def test_images_lie_in_their_rows_with_labels_captions_and_frames():
    grey = np.arange(8, dtype=np.uint8).reshape(2, 4, 1)
    colour = np.full((2, 4, 3), 1.5)
    figure, grid = mosaics.mosaic(
        [[grey, None, colour], [grey[..., 0], None, None]],
        labels=["one $", "two"],
        columns=["grey", "", "colour"],
        captions=[[""] * 3, ["20 dB", "", ""]],
        title="images",
    )
    assert grid.shape == (2, 3) and figure.get_suptitle() == "images"
    shown = [bool(axes.images) for axes in grid.flat]
    assert shown == [True, False, True, True, False, False]
    np.testing.assert_array_equal(grid[0, 0].images[0].get_array(), np.repeat(grey, 3, -1))
    np.testing.assert_array_equal(grid[1, 0].images[0].get_array(), np.repeat(grey, 3, -1))
    assert grid[0, 2].images[0].get_array().max() == 1  # clipped
    assert grid[0, 0].images[0].get_extent() == [0, 4, 2, 0]
    assert [axes.get_ylabel() for axes in grid[:, 0]] == ["one $", "two"]
    assert [axes.get_title() for axes in grid[0]] == ["grey", "", "colour"]
    assert grid[1, 0].get_xlabel() == "20 dB" and grid[0, 0].get_xlabel() == ""
    mosaics.frame(grid[0, 0], "#009E73", dashed=True)
    (frame,) = grid[0, 0].patches
    assert frame.get_bbox().extents.tolist() == [0, 0, 4, 2]
    assert to_hex(frame.get_edgecolor()) == "#009e73" and frame.get_linestyle() != "-"
    mosaics.rectangle(grid[0, 2], (1, 0, 2, 3), "red", text="cat 0.9")
    assert grid[0, 2].patches[0].get_bbox().extents.tolist() == [0, 1, 3, 2]
    assert grid[0, 2].texts[0].get_text() == "cat 0.9"
    figure.draw_without_rendering()
    boxes = [axes.get_window_extent() for axes in (grid[0, 0], grid[0, 2], grid[1, 0])]
    assert all(box.width > 0.7 * 1.15 * 120 for box in boxes)  # about as large as asked for


def test_a_heading_reaches_over_the_columns_without_one_up_to_the_next_gap():
    images = [np.ones((2, 2))] * 3
    _, grid = mosaics.mosaic(
        [[np.ones((2, 2)), None, *images]], columns=["query", "", "nearest in pixels", "", ""]
    )
    titles = [[text.get_text() for text in axes.texts] for axes in grid[0]]
    assert titles == [[], [], ["nearest in pixels"], [], []]
    assert grid[0, 0].get_title() == "query"
    with_next = mosaics.mosaic([images], columns=["nearest of them all in pixels", "x", "y"])[1]
    figure = grid[0, 0].figure
    figure.draw_without_rendering()
    places = [grid[0, i].get_window_extent().x0 for i in (2, 3, 4)]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], rel=0.05)
    assert "\n" in with_next[0, 0].get_title()


def test_filters_have_grey_for_no_weight_and_the_largest_come_first():
    kernels = np.zeros((2, 3, 1, 3))
    kernels[0, 1, 0, 2], kernels[1, 1, 0, 0] = -4.0, 2.0
    figure = mosaics.filters({"layer": kernels}, most=2, title="filters")
    (axes,) = figure.axes
    shown = axes.images[0].get_array()[..., 0]
    assert shown.shape == (2, 7)  # two of 2 x 3 and a line between
    np.testing.assert_array_equal(shown[:, :3], [[0.5, 0, 0.5], [0.5, 0.5, 0.5]])
    np.testing.assert_array_equal(shown[:, 3], [1, 1])
    np.testing.assert_array_equal(shown[:, 4:], [[0.5, 0.5, 0.5], [0.5, 1, 0.5]])
    assert axes.get_title() == "layer: the 2 largest of 3"
    kernels[0, 0, 0] = [1.0, 0.1, -2.0]  # each of its own scale
    shown = mosaics.kernel_images(kernels, 3)[..., 0]
    np.testing.assert_allclose(shown[0], [[0.25, 0, 0.5], [0.5, 0.5, 0.5]])
    np.testing.assert_allclose(shown[1], [[0.75, 0.5, 0.5], [0.5, 1, 0.5]])


def test_tiles_are_in_rows_and_missing_ones_white():
    tiles = mosaics.tiles(np.zeros((3, 2, 2, 3)))
    assert tiles.shape == (5, 5, 3)
    assert tiles[:2, :2].max() == 0 and tiles[2].min() == 1 and tiles[3:, 3:].min() == 1


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: mosaics.mosaic([]), "at least one"),
        (lambda: mosaics.mosaic([[np.ones((2, 2))], []]), r"got \[1, 0\]"),
        (lambda: mosaics.mosaic([[np.ones((2, 2, 2))]]), r"C = 1 or 3, got \(2, 2, 2\)"),
        (lambda: mosaics.filters({"a": np.ones((2, 2, 5, 1))}), "C = 1 or 3"),
        (lambda: mosaics.filters({"a": np.ones((2, 2, 1, 1))}, most=0), "at least 1"),
        (lambda: mosaics.filters({}), "must be a kernel"),
    ],
)
def test_images_that_cannot_be_shown_are_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
