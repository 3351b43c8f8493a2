"""What a lecture recommends for little and a lot of data, similar and different, and what won.

Importing this module imports no jax.
"""

from collections.abc import Mapping
from typing import Any

AMOUNTS = ("little data", "a lot of data")
SIMILARITIES = ("similar", "different")
EARLY = "early"

LABELS = {
    "linear": "linear classifier on top",
    EARLY: "linear classifier on an earlier stage",
    "top": "fine-tune the last stages",
    "all": "fine-tune all stages",
    "layerwise": "fine-tune all, rates by stage",
    "gradual": "fine-tune all, stage after stage",
    "scratch": "from scratch",
}

RECOMMENDED = {
    (AMOUNTS[0], SIMILARITIES[0]): "linear",
    (AMOUNTS[1], SIMILARITIES[0]): "top",
    (AMOUNTS[0], SIMILARITIES[1]): EARLY,
    (AMOUNTS[1], SIMILARITIES[1]): "all",
}
"""Stanford's CS231n: "use a linear classifier on the top layer", "finetune a few layers", "you're
in trouble… try a linear classifier from different stages", "finetune a larger number of layers"."""


def cell(
    amount: str, similarity: str, target: str, images: int, recipes: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """What result.json says of a cell.

    Args:
      amount: of ``AMOUNTS``.
      similarity: of ``SIMILARITIES``.
      target: in words.
      images: that each seed trained on.
      recipes: name -> ``test_accuracy``, ``validation_accuracy``, ``seconds`` …; "scratch" too.
    """
    from cnnlab.report.statistics import paired

    scratch = recipes["scratch"]["test_accuracy"]["values"]
    found = {
        name: {**each, "over_scratch": paired(each["test_accuracy"]["values"], scratch)}
        for name, each in recipes.items()
    }
    return {
        "amount": amount,
        "similarity": similarity,
        "target": target,
        "images": images,
        "recipes": found,
        "recommended": RECOMMENDED[amount, similarity],
        "won": max(found, key=lambda name: found[name]["test_accuracy"]["mean"]),
        "seconds": round(sum(each["seconds"] for each in found.values()), 1),
    }


def compare(cell: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a cell says of the lecture's recipe: against scratch, and against the best other one.

    Which other one is the best is said by the validation part, so that nothing is chosen by the
    test part. Nothing is compared where the recommended recipe was left out.

    Returns:
      For each: ``claim``, ``amount``, ``similarity``, ``ours`` and ``theirs`` (recipes), ``won``
      (by the mean on the test part), the difference of test accuracies as ``statistics.paired``
      gives it, and ``verdict``. Intervals are of one test each, not of all cells together.
    """
    from cnnlab.report.statistics import paired, verdict

    recipes, ours = cell["recipes"], cell["recommended"]
    if ours not in recipes:
        return []
    others = [name for name in recipes if name not in (ours, "scratch")]
    rivals = {"the lecture's recipe beats training from scratch": "scratch"}
    if others:
        rivals["and the best of the other recipes"] = max(
            others, key=lambda name: recipes[name]["validation_accuracy"]["mean"]
        )
    rows = []
    for claim, theirs in rivals.items():
        values = [recipes[name]["test_accuracy"]["values"] for name in (ours, theirs)]
        figure = paired(*values)
        named = {"claim": claim, "ours": ours, "theirs": theirs, "won": cell["won"]}
        place = {key: cell[key] for key in ("amount", "similarity")}
        rows.append({**named, **place, **figure, "verdict": verdict(figure["interval"])})
    return rows


def said(result: Mapping[str, Any]) -> list[str]:
    """What result.json holds, in lines: every recipe in every cell, then the claims."""
    from cnnlab.report.statistics import percent

    found = []
    for cell in result["cells"]:
        found.append(f"{cell['amount']}, {cell['similarity']}: {cell['images']} images")
        for name, each in cell["recipes"].items():
            marked = "  (the lecture's)" * (name == cell["recommended"])
            found.append(f"  {LABELS[name]}: {percent(each['test_accuracy'])}{marked}")
    return [*found, "", *map(line, result["claims"])]


def line(row: Mapping[str, Any]) -> str:
    """A claim and what was found."""
    from cnnlab.report.statistics import points

    return (
        f"{row['amount']}, {row['similarity']}: {row['claim']}: {row['ours']} - {row['theirs']} "
        f"{points(row)}: {row['verdict']}; best mean: {row['won']}"
    )
