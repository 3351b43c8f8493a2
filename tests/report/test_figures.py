"""The figures: what is drawn, from the Figure objects, and what is saved."""

import sys

import numpy as np
import pytest

from cnnlab.report import calibration, drawing, figures

EPOCHS = [
    {"step": 10, "epoch": 1, "train/loss": [2.0, 4.0], "train/accuracy": [0.2, 0.4]},
    {"step": 20, "epoch": 2, "train/loss": [1.0, 2.0], "train/accuracy": [0.5, 0.7]},
]
RATE = [{"epoch": e, "learning_rate": 0.1 / e} for e in (1, 2, 3)]


def panels(figure):
    return {axes.get_title(): axes for axes in figure.axes}


def line(axes, label):
    (actual,) = [line for line in axes.get_lines() if line.get_label().startswith(label)]
    return actual.get_xdata(), actual.get_ydata()


def test_the_line_is_the_mean_over_seeds_at_the_epochs():
    x, y = line(panels(figures.curves(EPOCHS))["Loss"], "training")
    np.testing.assert_array_equal(x, [1, 2])
    np.testing.assert_allclose(y, [3.0, 1.5])


def test_accuracy_is_in_percent():
    axes = panels(figures.curves(EPOCHS))["Accuracy"]
    np.testing.assert_allclose(line(axes, "training")[1], [30, 60])
    assert axes.get_ylabel() == "accuracy (%)"


FOUR = [1.0, 2.0, 3.0, 6.0]
ERROR = np.std(FOUR, ddof=1) / 2  # over the root of four


@pytest.mark.parametrize(
    ("band", "low", "high", "message"),
    [
        ("standard error", 3 - ERROR, 3 + ERROR, "± standard error"),
        ("range", 1.0, 6.0, "smallest to largest"),
    ],
)
def test_the_band_over_the_seeds_and_the_legend_that_names_it(band, low, high, message):
    records = [{"epoch": e, "train/loss": FOUR} for e in (1, 2)]
    axes = panels(figures.curves(records, band=band))["Loss"]
    heights = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == (pytest.approx(low), pytest.approx(high))
    assert axes.get_legend().get_title().get_text() == f"mean of 4 seeds, band {message}"


def test_one_seed_has_no_band_and_no_word_of_seeds():
    records = [{"epoch": e, "train/loss": 1 / e} for e in (1, 2)]
    axes = panels(figures.curves(records))["Loss"]
    assert not axes.collections
    assert axes.get_legend().get_title().get_text() in ("", "None")


def test_a_list_of_one_seed_is_one_seed():
    records = [{"epoch": e, "train/loss": [1 / e]} for e in (1, 2)]
    assert not panels(figures.curves(records))["Loss"].collections


def test_the_legend_tells_the_last_value():
    axes = panels(figures.curves(EPOCHS))["Accuracy"]
    (text,) = [t.get_text() for t in axes.get_legend().get_texts()]
    assert text == "training, last 60.00 ± 10 %"


def test_a_diverged_seed_leaves_a_gap_rather_than_a_better_mean():
    records = [{"epoch": 1, "train/loss": [1.0, 3.0]}, {"epoch": 2, "train/loss": [0.5, None]}]
    y = line(panels(figures.curves(records))["Loss"], "training")[1]
    np.testing.assert_array_equal(y, [2.0, np.nan])


def test_panels_without_data_are_left_out():
    assert set(panels(figures.curves(RATE))) == {"Learning rate"}
    assert set(panels(figures.curves(EPOCHS))) == {"Loss", "Accuracy"}


def test_training_and_validation_may_come_in_records_of_their_own():
    records = [*EPOCHS, {"step": 20, "epoch": 2, "validation/loss": [3.0, 3.0]}, {"step": 5}]
    axes = panels(figures.curves(records))["Loss"]
    np.testing.assert_array_equal(line(axes, "validation")[0], [2])
    assert len(line(axes, "training")[0]) == 2


def test_records_out_of_order_are_drawn_in_order():
    x, y = line(panels(figures.curves(EPOCHS[::-1]))["Loss"], "training")
    np.testing.assert_array_equal(x, [1, 2])
    np.testing.assert_allclose(y, [3.0, 1.5])


def test_a_loss_over_decades_has_a_log_axis_that_says_so():
    records = [{"epoch": e, "train/loss": 10.0**-e} for e in range(4)]
    axes = panels(figures.curves(records))["Loss"]
    assert axes.get_yscale() == "log" and "log" in axes.get_ylabel()
    assert panels(figures.curves(EPOCHS))["Loss"].get_yscale() == "linear"


def test_few_epochs_have_markers_and_many_have_none():
    few = panels(figures.curves(EPOCHS))["Loss"].get_lines()[0]
    many = panels(figures.curves([{"epoch": e, "train/loss": 1.0} for e in range(50)]))
    assert few.get_marker() == "o"
    assert many["Loss"].get_lines()[0].get_marker() == "None"


def test_records_that_hold_nothing_to_draw_are_refused():
    for records in ([], [{"step": 1, "epoch": 1}], [{"step": 1, "train/loss": 2.0}]):
        with pytest.raises(ValueError, match="at least one of"):
            figures.curves(records)


def test_an_accuracy_in_percent_is_refused():
    with pytest.raises(ValueError, match=r'"train/accuracy" must lie in \[0, 1\].*100'):
        figures.curves([{"epoch": 1, "train/accuracy": 98.0}])


def test_a_number_of_seeds_that_changes_is_refused():
    records = [{"epoch": 1, "train/loss": [1.0, 2.0]}, {"epoch": 2, "train/loss": [1.0]}]
    with pytest.raises(ValueError, match=r"same number of seeds.*\[1, 2\]"):
        figures.curves(records)


def test_an_unknown_band_is_refused():
    with pytest.raises(ValueError, match="'standard error', 'range', got 'std'"):
        figures.curves(EPOCHS, band="std")


COUNTS = np.array([[8, 2, 0], [1, 3, 0], [0, 0, 0]])


def test_confusion_rows_are_percentages_of_the_true_class():
    axes = figures.confusion_matrix(COUNTS, ["a", "b", "c"]).axes[0]
    shown = np.asarray(axes.get_images()[0].get_array())
    np.testing.assert_allclose(shown, [[80, 20, 0], [25, 75, 0], [0, 0, 0]])
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true class", "predicted class")


@pytest.mark.parametrize("name", ["caf\udce9", "$\\frac$", "caf\u00e9"])
def test_names_that_are_not_utf8_can_be_drawn(tmp_path, name):
    figure = figures.confusion_matrix(COUNTS, [name, "b", "c"], title=f"network on {name}")
    assert drawing.save(figure, tmp_path / "x.png").stat().st_size > 0


def test_confusion_prints_each_count_in_its_cell():
    axes = figures.confusion_matrix(COUNTS, ["a", "b", "c"]).axes[0]
    printed = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    assert printed == {(0, 0): "8", (0, 1): "2", (1, 0): "1", (1, 1): "3"}


def test_confusion_says_what_fraction_is_correct():
    axes = figures.confusion_matrix(COUNTS, ["a", "b", "c"], title="test").axes[0]
    assert axes.get_title() == "test\n78.57 % of 14 correct"


@pytest.mark.parametrize(("k", "printed"), [(20, True), (21, False)])
def test_counts_are_printed_up_to_twenty_classes(k, printed):
    axes = figures.confusion_matrix(np.eye(k, dtype=int), [str(i) for i in range(k)]).axes[0]
    assert bool(axes.texts) is printed


def test_a_hundred_classes_have_every_fourth_tick_with_its_own_name():
    names = [f"class {i}" for i in range(100)]
    axes = figures.confusion_matrix(np.eye(100, dtype=int), names).axes[0]
    np.testing.assert_array_equal(axes.get_xticks(), np.arange(0, 100, 4))
    assert axes.get_yticklabels()[3].get_text() == "class 12"


def test_confusion_needs_a_name_for_each_class():
    with pytest.raises(ValueError, match="3, got 2"):
        figures.confusion_matrix(COUNTS, ["a", "b"])


def test_names_with_dollar_signs_are_drawn_as_they_are(tmp_path):
    figure = figures.confusion_matrix(COUNTS, ["$", "$x_", "c"], title="$a")
    assert drawing.save(figure, tmp_path / "c.png").exists()


def reliable():
    p = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 30)
    return calibration.expected_calibration_error(p, [0] * 40, bins=10)


def test_reliability_draws_accuracy_confidence_gap_and_histogram():
    pooled = figures.reliability(reliable(), pooled="5 seeds").axes[0]
    assert pooled.get_title() == "ECE 47.50 % (5 seeds pooled, 10 bins, 40 examples)"
    upper, lower = figures.reliability(reliable()).axes
    accuracy, gap = upper.containers
    # (0.5, 0.6] is always wrong, (0.8, 0.9] always right: drawn at their left edges.
    np.testing.assert_allclose([b.get_x() for b in accuracy], [50, 80])
    np.testing.assert_allclose([b.get_height() for b in accuracy], [0, 100])
    np.testing.assert_allclose([b.get_height() for b in gap], [60, -10])
    shares = [b.get_height() for b in lower.containers[0]]
    np.testing.assert_allclose(shares, [0, 0, 0, 0, 0, 75, 0, 0, 25, 0])
    assert upper.get_title() == "ECE 47.50 % (10 bins, 40 examples)"


def test_reliability_takes_a_calibration_only():
    with pytest.raises(TypeError, match="expected_calibration_error makes one"):
        figures.reliability({"ece": 0.1})


def test_each_figure_is_saved_as_a_png_and_its_path_returned(tmp_path):
    paths = (tmp_path / "figures" / "curves.png", tmp_path / "c.png", tmp_path / "r.png")
    got = (
        drawing.save(figures.curves(EPOCHS + RATE, title="run"), paths[0]),
        drawing.save(figures.confusion_matrix(COUNTS, ["a", "b", "c"]), str(paths[1])),
        drawing.save(figures.reliability(reliable()), paths[2]),
    )
    assert got == paths
    for path in paths:
        assert path.read_bytes().startswith(b"\x89PNG\r\n")


def test_a_path_that_is_no_png_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.png"):
        drawing.save(figures.curves(EPOCHS), tmp_path / "curves.jpg")
    assert not list(tmp_path.iterdir())


def test_pyplot_stays_unloaded(tmp_path):
    import subprocess

    code = (
        "import sys; from cnnlab.report import figures; "
        "assert 'matplotlib' not in sys.modules; "
        f"figures.curves({RATE!r}); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
