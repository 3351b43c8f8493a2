"""The errors of a deep network from every start, in words."""

from collections.abc import Mapping
from typing import Any

from cnnlab.report.statistics import over_seeds, percent

from .config import METHODS


def summarize_method(method: str, measured: Any, guessing: float) -> dict[str, Any]:
    """A method's part of result.json.

    Args:
      method: of the start.
      measured: ``training.Errors``.
      guessing: the error of guessing.
    """
    train, before = measured.errors["train"], measured.before
    return {
        "method": method,
        "train_error": over_seeds(train),
        "test_error": over_seeds(measured.errors["test"]),
        "started": sum(error < guessing / 2 for error in train),
        "before": None if before is None else over_seeds(before),
        "seconds": round(measured.seconds, 1),
    }


def point_line(point: Mapping[str, Any]) -> str:
    """The errors of a method's networks as a line of text."""
    seeds = len(point["train_error"]["values"])
    before = point["before"]
    start = "" if before is None else f" (grown, it began at {percent(before)})"
    return (
        f"{METHODS[point['method']]}: {point['started']} of {seeds} started, training error "
        f"{percent(point['train_error'])}, test error {percent(point['test_error'])}{start}"
    )


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of result.json as lines of text, a start each."""
    return [point_line(each) for each in result["points"]]
