"""What ``experiments.deepening`` compares, and says of it.

Importing this module imports no jax.
"""

from collections.abc import Mapping, Sequence
from typing import Any

METHODS = {
    "grown": "grown, new layers fresh",
    "unchanged": "grown, new layers doing nothing",
    "gaussian": "small gaussian",
    "glorot": "Glorot",
    "he": "He",
}
"""What ``Config.methods`` are called in words; the first two are grown."""

GROWN = ("grown", "unchanged")


def compare(
    points: Sequence[Mapping[str, Any]], guessing: float, margin: float
) -> list[dict[str, Any]]:
    """What the errors say about the claims.

    Args:
      points: ``method``, ``train_error`` and ``test_error`` as ``over_seeds`` gives them.
      guessing: its error; half of it is what a network that has started comes under.
      margin: what growing may be better by where it is of no need.

    Returns:
      For each claim: ``claim``, ``difference`` (what of what, in words), the difference as
      ``statistics.paired`` gives it, and ``verdict``: "reproduced" if the whole 95 % interval is
      positive. Intervals are of one test each, not of all tests together.
    """
    import numpy as np

    from cnnlab.report.statistics import paired, verdict

    errors: dict[str, dict[str, np.ndarray]] = {
        part: {
            each["method"]: np.asarray(each[f"{part}_error"]["values"], np.float64)
            for each in points
        }
        for part in ("train", "test")
    }
    train, test = errors["train"], errors["test"]
    grown = [method for method in GROWN if method in train]
    tests: list[tuple[str, str, Any, Any]] = []
    if "gaussian" in train:
        small = train["gaussian"]
        half = np.full_like(small, guessing / 2)
        claim = "a deep network does not start from a small gaussian"
        tests.append((claim, "training error - half of guessing's", small, half))
    for method in grown:
        half = np.full_like(train[method], guessing / 2)
        claim = f"a deep network starts where it is {METHODS[method]}"
        tests.append((claim, "half of guessing's - training error", half, train[method]))
        if "gaussian" in train:
            claim = f"{METHODS[method]}, it beats a small gaussian"
            tests.append((claim, "test errors", test["gaussian"], test[method]))
    for start in (each for each in ("glorot", "he") if each in test):
        for method in grown:
            claim = f"from {METHODS[start]}'s weights it is as good as {METHODS[method]}"
            said = f"test errors, and {100 * margin:g} points"
            tests.append((claim, said, test[method] + margin, test[start]))
    rows = []
    for claim, difference, ours, theirs in tests:
        figure = paired(ours, theirs)
        said = verdict(figure["interval"])
        rows.append({"claim": claim, "difference": difference, **figure, "verdict": said})
    return rows


def line(point: Mapping[str, Any]) -> str:
    """What the networks of a method have come to."""
    from cnnlab.report.statistics import percent

    seeds = len(point["train_error"]["values"])
    begun = "" if point["before"] is None else f" (grown, it began at {percent(point['before'])})"
    return (
        f"{METHODS[point['method']]}: {point['started']} of {seeds} started, training error "
        f"{percent(point['train_error'])}, test error {percent(point['test_error'])}{begun}"
    )


def said(result: Mapping[str, Any]) -> list[str]:
    """What result.json holds, in lines: every start, then the claims."""
    found = [line(each) for each in result["points"]]
    return [*found, "", *conclusions(result["claims"])]


def conclusions(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines that say what ``compare`` found."""
    from cnnlab.report.statistics import points

    return [
        f"{row['claim']} ({row['difference']}): {points(row)}: {row['verdict']}" for row in claims
    ]
