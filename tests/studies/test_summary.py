"""The default summary of a result: a line for each figure over seeds."""

from cnnlab.report.statistics import over_seeds
from cnnlab.studies.summary import summary_lines


def test_every_figure_over_seeds_has_a_line_under_its_keys():
    figure = over_seeds([0.91, 0.93])
    points = [{"method": "rbm", "labels": 5, "rate": 0.1, "test": figure}, {"test": figure}]
    result = {"test": {"accuracy": figure, "note": 1}, "points": points, "claims": [{"a": figure}]}
    assert summary_lines(result) == [
        "test, accuracy: 92.00 ± 1.00 % (2 seeds)",
        "points, rbm, 5, test: 92.00 ± 1.00 % (2 seeds)",
        "points, test: 92.00 ± 1.00 % (2 seeds)",
    ]
