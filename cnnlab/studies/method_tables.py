"""Scores of methods, and how their networks differ, as tables and lines of text.

Importing this module imports no jax.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def method_table(scores: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """The methods: a head and a row each.

    Args:
      scores: of ``methods.score_methods``.
    """
    head = ["method", "test error, %", "less than the baseline's, points", "NLL", "Brier", "ECE"]
    head += ["epochs", "seconds", "multiply-adds"]
    return [head, *(_method_row(name, method) for name, method in scores.items())]


def _method_row(name: str, method: Mapping[str, Any]) -> list[str]:
    scores, cost = method["scores"], method["cost"]
    accuracy, less_error = scores["accuracy"], method["less_error"]
    return [
        name,
        _figure({**accuracy, "mean": 1 - accuracy["mean"]}, 100, 2),
        "" if less_error is None else points_with_interval(less_error["repetitions"]),
        _figure(scores["nll"], 1, 3),
        _figure(scores["brier"], 1, 3),
        _figure(scores["ece"], 1, 3),
        f"{cost['epochs']:g}",
        "" if cost["seconds"] is None else f"{cost['seconds']:.0f}",
        f"{cost['multiply_adds'] / 1e6:.1f} M",
    ]


def points_with_interval(figure: Mapping[str, Any]) -> str:
    """A difference of fractions in points, with its interval: ``+1.20 (+0.35 to +2.05)``."""
    text = f"{100 * figure['mean']:+.2f}"
    if figure["interval"] is None:
        return text
    low, high = (f"{100 * end:+.2f}" for end in figure["interval"])
    return f"{text} ({low} to {high})"


def member_error_line(accuracies: Mapping[str, Mapping[str, Any]]) -> str:
    """The members' errors alone, of ``methods.member_accuracies``."""
    errors = (f"{name} {100 * (1 - each['mean']):.2f}" for name, each in accuracies.items())
    return f"test error of each alone, %: {', '.join(errors)}"


def diversity_table(diversity: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[list[str]]:
    """How the members of each ensemble differ, means over repetitions: a head and a row each.

    The Brier score of an ensemble is the mean of its members' less their variance around it (Krogh
    and Vedelsby 1995).

    Args:
      diversity: name of the ensemble -> ``methods.diversity_by_repetition``.
    """
    head = ["members", "disagreement", "correlation of errors", "mean Brier of a member"]
    head += ["less by diversity", "Brier of the ensemble"]
    return [
        head,
        *(
            [
                name,
                _mean(each["disagreement"] for each in repetitions),
                _mean(each["error_correlation"] for each in repetitions),
                *(
                    _mean(each["brier"][part] for each in repetitions)
                    for part in ("members", "ambiguity", "ensemble")
                ),
            ]
            for name, repetitions in diversity.items()
        ),
    ]


def _mean(values: Any) -> str:
    """The mean as text; empty where one is missing (JSON's null) or NaN."""
    numbers = list(values)
    if any(number is None or math.isnan(number) for number in numbers):
        return ""
    return f"{sum(numbers) / len(numbers):.3f}"


def _figure(figure: Mapping[str, Any], scale: float, digits: int) -> str:
    text = f"{scale * figure['mean']:.{digits}f}"
    error = figure["standard_error"]
    if error is None or not math.isfinite(error):
        return text
    return f"{text} ± {scale * error:.{digits}f}"
