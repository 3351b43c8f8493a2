"""The claims about fine-tuning, of the accuracy of every recipe."""

from collections.abc import Mapping
from typing import Any

from cnnlab.report.statistics import paired
from cnnlab.studies.claims import REPRODUCED, Claim, verdict


def compare(recipes: Mapping[str, Mapping[str, Any]]) -> list[Claim]:
    """The claims that each recipe beats training from scratch.

    Args:
      recipes: name -> ``test_accuracy``, one for each seed, or None; ``epochs``; ``seconds``.

    Returns:
      A claim for each recipe, with the budgets of both sides: ``epochs``, ``seconds``,
      ``scratch_epochs``, ``scratch_seconds``. Where scratch lost and had fewer epochs the note says
      so, if it had at least as much time; otherwise they are not comparable. None of a recipe that
      diverged, nor if "scratch" did or was not among them.
    """
    scratch = recipes.get("scratch")
    if scratch is None or scratch["test_accuracy"] is None:
        return []
    claims = []
    for name, each in recipes.items():
        if name == "scratch" or each["test_accuracy"] is None:
            continue
        budget = {key: each[key] for key in ("epochs", "seconds")}
        figure = paired(each["test_accuracy"], scratch["test_accuracy"])
        fewer_epochs, less_time = (scratch[key] < budget[key] for key in ("epochs", "seconds"))
        unequal = fewer_epochs and verdict(figure["interval"]) == REPRODUCED
        note = ""
        if unequal:
            note = "scratch had less" if less_time else "scratch had fewer epochs, but more time"
        claims.append(
            Claim(
                f"{name} beats training from scratch",
                f"test accuracy: {name} - scratch",
                figure,
                note=note,
                comparable=not (unequal and less_time),
                extra=budget | {f"scratch_{key}": scratch[key] for key in budget},
            )
        )
    return claims
