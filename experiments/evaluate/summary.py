"""The scores of networks, as a table."""

from collections.abc import Mapping
from typing import Any

from cnnlab.report.statistics import percent


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The scores as lines of text."""
    width = max(len(name) for name in (*result["per_class"], "calibration error"))
    rows = [
        (f"{result['dataset']}, {result['part']} part", f"{result['examples']:,} images"),
        ("accuracy", percent(result["accuracy"])),
        ("loss", f"{result['loss']['mean']:.4f} nats"),
        ("calibration error", percent(result["ece"])),
        *((name, percent(figure)) for name, figure in result["per_class"].items()),
    ]
    return [f"{name.ljust(width)}  {text}" for name, text in rows]
