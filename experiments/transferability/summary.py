"""The result of ``experiments.transferability`` as lines of text."""

from collections.abc import Mapping
from typing import Any

from cnnlab.report.statistics import percent

from .config import TREATMENTS


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The accuracy of every treatment at every n, for each cut."""
    lines = []
    for cut, each in result["cuts"].items():
        lines.append(f"{cut}: base {percent(each['base'])}")
        for treatment in TREATMENTS:
            row = ", ".join(
                f"n={at['depth']} {percent(at['test_accuracy'])}"
                for at in each["treatments"]
                if at["treatment"] == treatment
            )
            lines.append(f"  {treatment:4}  {row}")
    return lines
