"""The claims about distilled students, of their errors and those of students alone."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnlab.report.statistics import paired
from cnnlab.studies.claims import Claim
from cnnlab.studies.teachers import ONE_TEACHER
from cnnlab.transfer import gap_closed

A_THIRD = 1 / 3
"""Of the gap to the teacher: the least that counts as Hinton's finding in kind."""

FEWER = (
    (146 - 74) / 10_000,
    "MNIST: teacher 67, student alone 146, distilled (T = 20) 74 errors (Hinton et al. 2015)",
)
RECOGNISED = (
    (133 - 14) / 1_010,
    "MNIST without 3s: 206 errors, 133 of them on the 1,010 3s; with the bias that is best on the "
    "test part 109, 14 on 3s (Hinton et al. 2015)",
)
"""The published difference of distilled students with soft targets, and its source."""


def compare(result: Mapping[str, Any]) -> list[Claim]:
    """The claims: by how much smaller a test error is, paired over seeds.

    Args:
      result: with ``examples``, ``teacher``, ``students`` and ``missing``.

    Returns:
      For each kind of distilled students their test error against that of students alone, with
      ``gap``, as ``gap_closed`` gives it, and ``third``, its comparison with a third in words;
      for each kind that was not shown some classes the error on these without a bias against that
      with a bias.
    """
    teacher = result["teacher"]["errors"]["mean"]
    students, examples = result["students"], result["examples"]
    alone = np.asarray(students["alone"]["errors"]["values"])
    claims = []
    for name, each in students.items():
        if name == "alone" or name in result["missing"]:
            continue
        errors = np.asarray(each["errors"]["values"])
        gap = gap_closed(alone, errors, teacher)
        fewer = Claim(
            f"{name} makes fewer errors than alone",
            f"test error: alone - {name}",
            paired(alone / examples, errors / examples),
            extra={"gap": gap, "third": compare_with_third(gap)},
        )
        claims.append(_with_source(fewer, name, FEWER))
    for name, ways in result["missing"].items():
        way = "validation" if "validation" in ways else "frequency"
        before, after = (np.asarray(ways[x]["missing_errors"]["values"]) for x in ("none", way))
        examples = ways[way]["missing_examples"]
        better = Claim(
            f"{name} knows the missing classes better with a bias by {way}",
            f"error on the missing classes: without - with a bias by {way}",
            paired(before / examples, after / examples),
        )
        claims.append(_with_source(better, name, RECOGNISED))
    return claims


def compare_with_third(gap: Mapping[str, Any]) -> str:
    """The closed part of the gap in words, and whether it is a third or more.

    Args:
      gap: as ``gap_closed`` gives it.
    """
    if gap["fraction"] is None:
        return "there is no gap: students alone are as good as the teacher"
    text = f"{100 * gap['fraction']:.0f} % of the gap to the teacher is closed"
    if gap["interval"] is None:
        return f"{text}, which these seeds are too few to tell from none"
    low, high = gap["interval"]
    text += f" (95 % interval {100 * low:.0f} to {100 * high:.0f})"
    if low >= A_THIRD:
        return f"{text}: at least a third"
    return f"{text}: a third or more is {'not excluded' if high >= A_THIRD else 'excluded'}"


def _with_source(claim: Claim, name: str, published: tuple[float, str]) -> Claim:
    """The claim about students of the kind ``name``; the published ones had soft targets."""
    effect, source = published if name.startswith("distilled-T") else (None, "")
    note = ONE_TEACHER if name.startswith("distilled") else ""
    return dataclasses.replace(claim, published=effect, source=source, note=note)
