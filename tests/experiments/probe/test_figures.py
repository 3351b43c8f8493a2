"""The figures of probes and neighbours: what is drawn."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from cnnlab.report import drawing
from experiments.probe import figures

POINTS = [
    {"network": network, "method": "ridge", "stage": stage, "mean": mean, "interval": interval}
    for network, stage, mean, interval in (
        ("pixels", "pixels", 0.5, [0.4, 0.6]),
        ("trained", "head", 0.98, [0.97, 1.2]),
        ("untrained", "head", 0.2, [0.1, 0.3]),
    )
]


def test_every_curve_has_its_accuracy_at_each_stage_and_bars_that_end_at_100():
    figure = figures.accuracy_by_stage(POINTS, own=0.9, bars="over seeds")
    (axes,) = figure.axes
    trained, random = axes.containers
    np.testing.assert_allclose(trained.lines[0].get_ydata(), [50, 98])
    np.testing.assert_allclose(random.lines[0].get_ydata(), [50, 20])
    ends = np.array(trained.lines[2][0].get_segments())[:, :, 1]
    np.testing.assert_allclose(ends, [[40, 60], [97, 100]])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["pixels", "head"]
    assert axes.get_legend().get_title().get_text() == "over seeds"
    own = [line for line in axes.lines if line.get_label() == "the network itself"]
    assert own[0].get_ydata()[0] == 90


def test_neighbours_are_framed_by_whether_they_are_of_the_query_s_class(tmp_path):
    generator = np.random.default_rng(0)
    queries = generator.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    near = generator.integers(0, 256, (2, 3, 4, 4, 3), dtype=np.uint8)
    given = {"in pixels": near, "in stage3": near[:, :2]}
    labels = {"in pixels": np.array([[0, 1, 0], [1, 1, 1]]), "in stage3": np.zeros((2, 2), int)}
    names = ("$cat", "dog")
    figure = figures.retrieval(queries, given, [0, 1], labels, names)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == 2 * (1 + 3 + 2)
    frames = [[to_hex(patch.get_edgecolor()).upper() for patch in axes.patches] for axes in shown]
    right, wrong = [figures.RIGHT], [figures.WRONG]
    assert frames[:6] == [[], right, wrong, right, right, right]
    assert frames[6:] == [[], right, right, right, wrong, wrong]
    np.testing.assert_array_equal(shown[3].images[0].get_array(), near[0, 2])
    texts = [text.get_text().replace("\n", " ") for axes in figure.axes for text in axes.texts]
    assert texts == [
        "in pixels 5 of 6 of the same class",
        "in stage3 2 of 4 of the same class",
    ]
    assert all(isinstance(patch, Rectangle) for axes in shown for patch in axes.patches)
    path = tmp_path / "figures" / "neighbours.png"
    grey = {name: images[..., :1] for name, images in given.items()}
    figure = figures.retrieval(queries[..., :1], grey, [0, 1], labels, names)
    drawing.save(figure, path)
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_curves_and_neighbours_that_do_not_fit_are_refused():
    stem = {**POINTS[1], "stage": "stem"}
    with pytest.raises(ValueError, match="'random weights, ridge'.*each of 3 stages,.*got 2"):
        figures.accuracy_by_stage([POINTS[0], stem, *POINTS[1:]])
    with pytest.raises(ValueError, match="of 2 queries"):
        figures.retrieval(
            np.zeros((2, 4, 4, 1)), {"x": np.zeros((3, 1, 4, 4, 1))}, [0, 1], {"x": [[0]]}, ("a",)
        )
