"""The result of ``experiments.probe`` as lines of text."""

from collections.abc import Mapping, Sequence
from typing import Any

from .config import METHODS, NETWORKS, PIXELS


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The accuracy at each stage: a line for each, a column for each network and method."""
    points = result["points"]
    stages = list(dict.fromkeys(each["stage"] for each in points))
    methods = list(dict.fromkeys(each["method"] for each in points))
    columns = [(network, method) for method in methods for network in NETWORKS]
    rows = [["", *(f"{METHODS[m]}, {NETWORKS[n]}" for n, m in columns)]]
    rows += [[stage, *(_cell(points, stage, *each) for each in columns)] for stage in stages]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def _cell(points: Sequence[Mapping[str, Any]], stage: str, network: str, method: str) -> str:
    for point in points:
        if (point["stage"], point["method"]) != (stage, method):
            continue
        if point["network"] in (network, PIXELS):
            text = f"{100 * point['mean']:.2f}"
            if point["standard_error"] is None:
                return text
            return f"{text} ± {100 * point['standard_error']:.2f}"
    return ""
