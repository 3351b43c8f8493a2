"""The errors of networks of several depths, in words."""

from collections.abc import Mapping
from typing import Any

from cnnlab.report.statistics import over_seeds, percent


def network_summary(kind: str, depth: int, errors: Mapping[str, Any]) -> dict[str, Any]:
    """An architecture's part of result.json."""
    return {
        "kind": kind,
        "depth": depth,
        **{f"{part}_error": over_seeds(values) for part, values in errors["errors"].items()},
        "diverged": errors["diverged"],
        "seconds": round(errors["seconds"], 1),
    }


def network_line(model: str, errors: Mapping[str, Any]) -> str:
    """An architecture's errors as a line of text."""
    return _line(model, network_summary("", 0, errors))


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of result.json as lines of text, a network each."""
    return [_line(model, each) for model, each in result["architectures"].items()]


def _line(model: str, each: Mapping[str, Any]) -> str:
    line = (
        f"{model}: training error {percent(each['train_error'])}, test error "
        f"{percent(each['test_error'])}, {each['seconds']:.0f} s"
    )
    if each["diverged"]:
        line += f"; diverged, counted as guessing: seeds {', '.join(map(str, each['diverged']))}"
    return line
