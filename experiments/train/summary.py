"""The scores of a training, as lines of text."""

from collections.abc import Mapping
from typing import Any

from cnnlab.report.statistics import percent


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of result.json as lines of text."""
    return [
        f"{result['model']} on {result['dataset']}: test accuracy "
        f"{percent(result['test']['accuracy'])}, {result['seconds']:.0f} s of training"
    ]
