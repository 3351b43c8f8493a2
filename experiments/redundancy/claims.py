"""The claims about pruned networks and students, and how far the accuracy is kept."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnlab.report.statistics import paired
from cnnlab.studies.claims import Claim
from cnnlab.studies.teachers import ONE_TEACHER

from .summary import METHODS, place

PUBLISHED = (
    "Lenet-300-100 on MNIST, figure 3: rewound, accuracy rises down to 21 % of the weights and is "
    "the dense one's at 3.6 %; reinitialised, it falls from the first round on"
)


def compare_with_dense(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The points, each with ``difference``: its accuracy minus the dense network's, paired."""
    dense = next(each for each in points if each["method"] == "dense")["test_accuracy"]["values"]
    return [
        {**each, "difference": paired(each["test_accuracy"]["values"], dense)} for each in points
    ]


def compare(points: Sequence[Mapping[str, Any]]) -> list[Claim]:
    """The claims, of the test accuracies.

    Returns:
      For each claim and each place where it is tested, the smallest network first and the mean of
      all last, the difference paired over seeds, with ``ours`` and ``theirs`` (methods). Intervals
      are of one test each, not of all tests together, and those of students are for the one teacher
      that they have.
    """
    claims = []
    tickets = "what is left learns better from its first weights"
    students = "a small network learns more from the large one"
    for text, ours, theirs, source, note in (
        (tickets, "rewound", "reinitialised", PUBLISHED, ""),
        (students, "distilled", "small", "", ONE_TEACHER),
    ):
        both = [
            [each for each in points if each["method"] == method][::-1] for method in (ours, theirs)
        ]
        left, right = ([each["test_accuracy"]["values"] for each in own] for own in both)
        tests = {place(each): (left[i], right[i]) for i, each in enumerate(both[0])}
        if len(tests) > 1:
            tests["mean of all"] = np.mean(left, axis=0), np.mean(right, axis=0)
        claims += [
            Claim(
                text,
                f"test accuracy: {ours} - {theirs}",
                paired(*values),
                at,
                source=source,
                note=note,
                extra={"ours": ours, "theirs": theirs},
            )
            for at, values in tests.items()
        ]
    return claims


def smallest_kept(
    points: Sequence[Mapping[str, Any]], margin: float
) -> dict[str, dict[str, dict[str, Any] | None]]:
    """How far each method can go before the dense network's accuracy is lost.

    From the largest of a method's networks to the smallest, up to the first that fails.

    Args:
      points: with ``difference``, as ``compare_with_dense`` gives them.
      margin: the accuracy that may be lost.

    Returns:
      method -> ``shown``, the place, sparsity and parameters of the smallest network whose 95 %
      interval of the difference lies above ``-margin`` (it is shown to keep the accuracy), and
      ``not_refuted``, of the smallest whose interval does not lie below it (it is not shown to lose
      more: with few seeds that says little). None where the first one fails already.
    """
    kept: dict[str, dict[str, dict[str, Any] | None]] = {}
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
            kept.setdefault(method, {})[test] = smallest
    return kept
