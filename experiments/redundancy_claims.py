"""What small and sparse networks say about how much of a network is redundant.

Importing this module imports no jax.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.distill_errors import ONE_TEACHER

METHODS = {
    "dense": "dense",
    "longer": "dense, trained as long as all rounds",
    "rewound": "pruned, rewound to its first weights",
    "continued": "pruned, trained on",
    "reinitialised": "the same connections, fresh weights",
    "small": "small, alone",
    "distilled": "small, distilled",
}


def against_dense(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The points, each with ``difference``: its accuracy minus the dense network's, paired."""
    dense = next(each for each in points if each["method"] == "dense")
    return [{**each, "difference": _difference(each, dense)} for each in points]


def compare(points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the test accuracies say about the claims.

    Returns:
      For each claim and each place where it is tested, the smallest network first and the mean of
      all last: ``claim``, ``at``, ``ours`` and ``theirs`` (methods), the difference as
      ``statistics.paired`` gives it, and ``verdict``: "reproduced" if the whole 95 % interval is
      positive. Intervals are of one test each, not of all tests together, and those of students
      are for the one teacher that they have.
    """
    import numpy as np

    from cnnlab.report.statistics import paired, verdict

    rows = []
    for claim, ours, theirs in (
        ("what is left learns better from its first weights", "rewound", "reinitialised"),
        ("a small network learns more from the large one", "distilled", "small"),
    ):
        both = [
            [each for each in points if each["method"] == method][::-1] for method in (ours, theirs)
        ]
        left, right = ([each["test_accuracy"]["values"] for each in own] for own in both)
        tests = {place(each): (left[i], right[i]) for i, each in enumerate(both[0])}
        if len(tests) > 1:
            tests["mean of all"] = np.mean(left, axis=0), np.mean(right, axis=0)
        for at, values in tests.items():
            figure = paired(*values)
            named = {"claim": claim, "at": at, "ours": ours, "theirs": theirs}
            rows.append({**named, **figure, "verdict": verdict(figure["interval"])})
    return rows


def keeps(points: Sequence[Mapping[str, Any]], margin: float) -> dict[str, dict[str, Any]]:
    """How far each method can go before the dense network's accuracy is lost.

    From the largest of a method's networks to the smallest, up to the first that fails.

    Args:
      points: with ``difference``, as ``against_dense`` gives them.
      margin: the accuracy that may be lost.

    Returns:
      method -> ``shown``, the place, sparsity and parameters of the smallest network whose 95 %
      interval of the difference lies above ``-margin`` (it is shown to keep the accuracy), and
      ``not_refuted``, of the smallest whose interval does not lie below it (it is not shown to lose
      more: with few seeds that says little). None where the first one fails already.
    """
    found: dict[str, dict[str, Any]] = {}
    for method in METHODS:
        own = [each for each in points if each["method"] == method]
        if not own or method in ("dense", "longer"):
            continue
        own.sort(key=lambda each: -each["parameters"])
        for test, end in (("shown", 0), ("not_refuted", 1)):
            smallest = None
            for each in own:
                interval = each["difference"]["interval"]
                if interval is None or interval[end] < -margin:
                    break
                smallest = {key: each[key] for key in ("name", "sparsity", "parameters")}
            found.setdefault(method, {})[test] = smallest
    return found


def _difference(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    from cnnlab.report.statistics import paired

    return paired(ours["test_accuracy"]["values"], theirs["test_accuracy"]["values"])


# What is said --------------------------------------------------------------------------------


def place(point: Mapping[str, Any]) -> str:
    """Which one of its method a network is, in words; "" where there is only one."""
    if point["sparsity"]:
        return f"{100 * (1 - point['sparsity']):.3g} % of the weights"
    return str(point["name"])


def line(point: Mapping[str, Any]) -> str:
    """What a network has come to."""
    from cnnlab.report.statistics import percent

    named = ", ".join(filter(None, (METHODS[point["method"]], place(point))))
    return (
        f"{named}: {point['parameters']:,} parameters, test accuracy "
        f"{percent(point['test_accuracy'])}; {point['epochs']} epochs in all"
    )


def conclusions(
    claims: Sequence[Mapping[str, Any]], kept: Mapping[str, Mapping[str, Any]], margin: float
) -> list[str]:
    """Lines that say what ``compare`` and ``keeps`` found."""
    from cnnlab.report.statistics import points

    lines = [f"{row['claim']}, {row['at']}: {points(row)}: {row['verdict']}" for row in claims]
    if any(row["ours"] == "distilled" for row in claims):
        lines.append(f"(small, distilled: {ONE_TEACHER})")
    lines.append(f"the dense accuracy, but for {100 * margin:g} points, is kept down to:")
    for method, tests in kept.items():
        shown, unrefuted = (_smallest(tests[test]) for test in ("shown", "not_refuted"))
        lines.append(f"  {METHODS[method]}: shown for {shown}, not refuted for {unrefuted}")
    return lines


def _smallest(found: Mapping[str, Any] | None) -> str:
    return "none" if found is None else f"{place(found)} ({found['parameters']:,} parameters)"
