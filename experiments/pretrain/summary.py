"""The accuracies with and without pretraining, in words."""

from collections.abc import Mapping
from typing import Any

from cnnlab.report.statistics import percent

from .config import METHODS


def point_line(point: Mapping[str, Any]) -> str:
    """The accuracy of one method with one number of labels as a line of text."""
    return (
        f"{METHODS[point['method']]}, {point['labels']} a class: test accuracy "
        f"{percent(point['test_accuracy'])}, at the end of training "
        f"{percent(point['train_accuracy'])} on its own images"
    )


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of result.json as lines of text: every method and number of labels."""
    return [point_line(each) for each in result["points"]]
