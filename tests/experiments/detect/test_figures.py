"""The figures of detection: boxes, curves and seeds."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from cnnlab.report import drawing
from cnnlab.report.average_precision import Detections
from experiments.detect import figures

IMAGES = np.zeros((2, 8, 8, 1), np.uint8)
BOXES = np.asarray([[[0, 0, 4, 4], [4, 4, 8, 8]], [[2, 2, 6, 5], [0, 0, 0, 0]]], np.float32)
CLASSES = np.asarray([[0, 1], [1, -1]])
DETECTIONS = Detections(
    np.asarray([0, 0, 1, 1]),
    np.asarray([0, 0, 1, 1]),
    np.asarray([[0, 0, 4, 4], [4, 4, 8, 8], [2, 2, 6, 5], [0, 0, 3, 3]], np.float32),
    np.asarray([0.9, 0.8, 0.7, 0.2]),
)


def rectangles(axes):
    return [
        (to_hex(p.get_edgecolor()).upper(), p.get_linestyle(), p.get_xy(), p.get_height())
        for p in axes.patches
        if isinstance(p, Rectangle)
    ]


def test_objects_and_detections_lie_where_they_are():
    figure = figures.scenes(
        IMAGES, BOXES, CLASSES, {"one": DETECTIONS, "other": DETECTIONS}, ("four", "five")
    )
    first, second, *others = figure.axes
    assert len(others) == 2 and first.get_ylabel() == "one"
    right, wrong, true = "#56B4E9", "#E69F00", "#FFFFFF"
    assert rectangles(first) == [
        (true, "--", (0, 0), 4),
        (true, "--", (4, 4), 4),
        (right, "-", (0, 0), 4),
        (wrong, "-", (4, 4), 4),  # the place is right, the class is not
    ]
    # With one object, the surest detection alone.
    assert rectangles(second) == [(true, "--", (2, 2), 4), (right, "-", (2, 2), 4)]
    assert [text.get_text() for text in first.texts] == ["four 0.90", "four 0.80"]
    assert first.images[0].get_extent() == [0, 8, 8, 0]


def test_curves_and_seeds_are_drawn_in_per_cent(tmp_path):
    curves = {"one": ([1.0, 0.5], [0.25, 0.5])}
    line = figures.precision_recall(curves).axes[0].lines[0]
    np.testing.assert_allclose(line.get_xydata(), [[25, 100], [50, 50]])
    networks = {
        "one": {"IoU 0.5": [0.5, 0.7], "IoU 0.75": [0.1, 0.3]},
        "other": {"IoU 0.5": [0.4], "IoU 0.75": [0.2]},
    }
    figure = figures.comparison(networks, title="a title")
    path = drawing.save(figure, tmp_path / "comparison.png")
    assert path.read_bytes()[:4] == b"\x89PNG"
    left, right = figure.axes
    assert [text.get_text() for text in left.texts] == ["60.0", "40.0"]
    assert [text.get_text() for text in right.texts] == ["20.0", "20.0"]


def test_values_that_cannot_be_drawn_are_refused():
    with pytest.raises(ValueError, match="both are needed"):
        figures.scenes(IMAGES, BOXES, CLASSES, {}, ("four", "five"))
    with pytest.raises(ValueError, match="at least one curve"):
        figures.precision_recall({})
    with pytest.raises(ValueError, match=r"\[L\] both"):
        figures.precision_recall({"one": ([1.0], [0.5, 0.6])})
    with pytest.raises(ValueError, match="at least one network"):
        figures.comparison({})
    with pytest.raises(ValueError, match="other must have values"):
        figures.comparison({"one": {"a": [1.0]}, "other": {"b": [1.0]}})
