"""The average precision of the detectors, in words."""

from collections.abc import Mapping
from typing import Any

from cnnlab.report.statistics import percent


def point_line(point: Mapping[str, Any]) -> str:
    """The mean average precision of a training's detectors as text."""
    parts = [
        f"{percent(figure)} at IoU {overlap}"
        for overlap, figure in point["average_precision"].items()
    ]
    line = f"boxes {point['regression']}: mean average precision {', '.join(parts)}"
    return f"{line}, {point['seconds']:.0f} s" if point["seconds"] else line


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of result.json as lines of text, a detector each."""
    return [f"{each['name']}: {point_line(each)}" for each in result["points"]]
