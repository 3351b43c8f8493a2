"""The figures of segmentation: the colours of errors, and what cannot be drawn."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from cnnlab.report import drawing
from experiments.segment import figures

NAMES = ("background", "one", "two")


@pytest.fixture
def scene():
    image = np.full((1, 4, 4, 3), 120, np.uint8)
    truth = np.zeros((1, 4, 4), np.uint8)
    truth[0, 0, :2] = 1
    predicted = np.zeros((1, 4, 4), np.uint8)
    predicted[0, 0, 0], predicted[0, 3, 3] = 2, 1
    return image, truth, predicted


def test_errors_have_the_colour_of_their_kind(scene):
    image, truth, predicted = scene
    figure = figures.overlays(image, truth, {"net": predicted}, NAMES, title="a $ sign")
    picture = figure.axes[3].images[0].get_array()
    legend = {text.get_text(): patch for text, patch in _legend(figure)}
    for place, name in (
        ((0, 1), "error: missed"),
        ((0, 0), "error: another class"),
        ((3, 3), "error: seen on the background"),
    ):
        np.testing.assert_allclose(picture[place], to_rgb(legend[name].get_facecolor()))
    assert picture[1, 1].std() == pytest.approx(0)  # right: grey
    assert [axes.get_title() for axes in figure.axes] == ["image", "truth", "net", "its errors"]
    assert {"one", "two"} < set(legend)


def _legend(figure):
    legend = figure.legends[0]
    return zip(legend.get_texts(), legend.get_patches(), strict=True)


def test_bars_are_means_of_seeds_and_the_last_is_of_all_classes(tmp_path):
    iou = np.array([[0.9, 0.5, np.nan], [0.7, 0.3, np.nan]])
    figure = figures.iou_by_class({"net": iou}, NAMES)
    axes = figure.axes[0]
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(heights, [80, 40, 60])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [*NAMES, "mean"]
    assert drawing.save(figure, tmp_path / "iou.png").is_file()


def test_lines_go_through_the_means_by_scenes():
    predicted = {"scratch": {10: [0.1, 0.3], 100: [0.6, 0.8]}, "pretrained": {10: [0.4, 0.4]}}
    axes = figures.iou_by_scenes(predicted).axes[0]
    heights = np.asarray(axes.containers[0][0].get_ydata(), float)
    np.testing.assert_allclose(heights, [20, 70])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["10", "100"]


def test_shapes_that_cannot_be_drawn_are_refused(scene):
    image, truth, predicted = scene
    with pytest.raises(ValueError, match="a scene and a prediction"):
        figures.overlays(image, truth, {}, NAMES)
    with pytest.raises(ValueError, match="net must be masks"):
        figures.overlays(image, truth, {"net": predicted[:, :2]}, NAMES)
    with pytest.raises(ValueError, match=r"truth must be in 0\.\.2.* got 0 to 3"):
        figures.overlays(image, 3 * truth, {"net": predicted}, NAMES)
    with pytest.raises(ValueError, match="uint8"):
        figures.overlays(image / 255, truth, {"net": predicted}, NAMES)
    with pytest.raises(ValueError, match="IoU must be"):
        figures.iou_by_class({"net": np.ones((2, 2))}, NAMES)
    with pytest.raises(ValueError, match="got none"):
        figures.iou_by_scenes({})
