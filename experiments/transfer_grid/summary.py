"""The grid of transfer in words: every recipe in every cell."""

from collections.abc import Mapping
from typing import Any

from cnnlab.report.statistics import percent
from cnnlab.studies.recipe_settings import LABELS


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of result.json as lines of text."""
    lines = []
    for cell in result["cells"]:
        lines.append(f"{cell['amount']}, {cell['similarity']}: {cell['images']} images")
        for name, each in cell["recipes"].items():
            marked = "  (the lecture's)" * (name == cell["recommended"])
            lines.append(f"  {LABELS[name]}: {percent(each['test_accuracy'])}{marked}")
    return lines
