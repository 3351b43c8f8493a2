"""A cell of the grid: the lecture's recipe, the others, and the claims about it."""

from collections.abc import Mapping
from typing import Any

from cnnlab.report.statistics import paired
from cnnlab.studies.claims import Claim
from cnnlab.studies.recipe_settings import LECTURE


def make_cell(
    amount: str, similarity: str, target: str, images: int, recipes: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """A cell's part of result.json.

    Args:
      amount: of ``AMOUNTS``.
      similarity: of ``SIMILARITIES``.
      target: in words.
      images: that each seed trained on.
      recipes: name -> ``test_accuracy``, ``validation_accuracy``, ``seconds`` …; "scratch" too.
    """
    scratch = recipes["scratch"]["test_accuracy"]["values"]
    compared = {
        name: {**each, "over_scratch": paired(each["test_accuracy"]["values"], scratch)}
        for name, each in recipes.items()
    }
    return {
        "amount": amount,
        "similarity": similarity,
        "target": target,
        "images": images,
        "recipes": compared,
        "recommended": LECTURE[amount, similarity],
        "won": max(compared, key=lambda name: compared[name]["test_accuracy"]["mean"]),
        "seconds": round(sum(each["seconds"] for each in compared.values()), 1),
    }


def compare(cell: Mapping[str, Any]) -> list[Claim]:
    """The claims about the lecture's recipe in a cell: against scratch, and the best other one.

    The validation part says which other one is the best, so that nothing is chosen by the test
    part. Nothing is compared where the recommended recipe was left out.

    Returns:
      Claims whose rows have ``amount``, ``similarity``, ``ours`` and ``theirs`` (recipes) and
      ``won`` (by the mean on the test part). Intervals are of one test each, not of all cells.
    """
    recipes, ours = cell["recipes"], cell["recommended"]
    if ours not in recipes:
        return []
    others = [name for name in recipes if name not in (ours, "scratch")]
    rivals = {"the lecture's recipe beats training from scratch": "scratch"}
    if others:
        rivals["the lecture's recipe beats the best of the other recipes"] = max(
            others, key=lambda name: recipes[name]["validation_accuracy"]["mean"]
        )
    claims = []
    for text, theirs in rivals.items():
        left, right = (recipes[name]["test_accuracy"]["values"] for name in (ours, theirs))
        place = {key: cell[key] for key in ("amount", "similarity")}
        claims.append(
            Claim(
                text,
                f"test accuracy: {ours} - {theirs}",
                paired(left, right),
                at=", ".join(place.values()),
                note=f"best mean: {cell['won']}",
                extra={"ours": ours, "theirs": theirs, "won": cell["won"], **place},
            )
        )
    return claims
