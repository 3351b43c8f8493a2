"""Figures of images: what is drawn, and what is refused."""

import numpy as np
import pytest

from cnnlab.report import drawing
from experiments.autoencoder import figures
from experiments.autoencoder.figures import Row


def pictures(axes):
    """The images in a figure's axes, where there is one."""
    return [each.get_images()[0].get_array() for each in axes if each.get_images()]


def test_each_row_shows_its_images_with_their_scores_under_them():
    clean = np.linspace(0, 1, 2 * 4 * 4).reshape(2, 4, 4, 1)
    rows = {"original": Row(clean), "noisy": Row(clean + 0.5, [20.04, 30.0], [0.5, 0.875])}
    figure = figures.restorations(rows, title="a title")
    assert len(figure.axes) == 4
    shown = pictures(figure.axes)
    np.testing.assert_allclose(shown[1], np.repeat(clean[1], 3, -1))
    np.testing.assert_allclose(shown[2], np.clip(np.repeat(clean[0] + 0.5, 3, -1), 0, 1))
    assert [each.get_xlabel() for each in figure.axes] == ["", "", "20.0 · 0.50", "30.0 · 0.88"]
    assert [figure.axes[i].get_ylabel() for i in (0, 2)] == ["original", "noisy"]
    assert "a title" in figure.get_suptitle() and "PSNR in dB" in figure.get_suptitle()


def test_colours_stay_and_no_scores_are_promised_where_there_are_none():
    image = np.zeros((1, 2, 2, 3))
    image[..., 0] = 1
    figure = figures.restorations({"red": Row(image)})
    np.testing.assert_array_equal(pictures(figure.axes)[0], image[0])
    assert figure.get_suptitle() == ""


def test_methods_are_points_with_their_intervals_from_top_to_bottom():
    panel = {
        "median": {"mean": 20.0, "interval": [19.0, 22.0]},
        "ours": {"mean": 25.0, "interval": None},
    }
    figure = figures.scores({"PSNR (dB)": panel, "SSIM": panel}, ours=["ours"])
    axes = figure.axes[0]
    low, high = axes.get_ylim()
    assert low > high  # the first is at the top
    points = [bars[0].get_xydata()[0] for bars in axes.containers]
    np.testing.assert_allclose(points, [[20, 0], [25, 1]])
    (ends,) = axes.containers[0][2][0].get_segments()
    np.testing.assert_allclose(ends[:, 0], [19, 22])
    colours = {bars[0].get_color() for bars in axes.containers}
    assert len(colours) == 2
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["median", "ours"]


def test_figures_are_saved(tmp_path):
    image = np.zeros((1, 2, 2, 1))
    paths = [
        drawing.save(figures.restorations({"one": Row(image)}), tmp_path / "a.png"),
        drawing.save(
            figures.scores({"S": {"m": {"mean": 1.0, "interval": None}}}), tmp_path / "b.png"
        ),
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures.restorations({}), "at least one"),
        (
            lambda: figures.restorations(
                {"a": Row(np.zeros((1, 2, 2, 1))), "b": Row(np.zeros((2, 2, 2, 1)))}
            ),
            "the same images, at least one, got {'a': 1, 'b': 2}",
        ),
        (
            lambda: figures.restorations({"a": Row(np.zeros((1, 2, 2, 2)))}),
            r"C = 1 or 3, got shape \(1, 2, 2, 2\)",
        ),
        (
            lambda: figures.restorations({"a": Row(np.zeros((1, 2, 2, 1)), [1, 2])}),
            r"psnr of row 'a' must be \[1\]",
        ),
        (lambda: figures.scores({"PSNR": {}}), "at least one"),
        (
            lambda: figures.scores({"a": {"m": {"mean": 1, "interval": None}}, "b": {}}),
            "the same methods",
        ),
    ],
)
def test_invalid_data_for_a_figure_are_refused(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
