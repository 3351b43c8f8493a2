"""What came of each recipe of fine-tuning, and what that says about the claims."""

from collections.abc import Mapping
from typing import Any

from experiments.config import Training
from experiments.finetuning import Tuned


def summary(config: Training, tuned: Tuned) -> dict[str, Any]:
    """What result.json says of a recipe."""
    import jax

    learning = tuned.recipe.trainable(tuned.states.params)
    validation = tuned.validation
    return {
        "test_accuracy": tuned.accuracy.tolist(),
        "validation_accuracy": None if validation is None else validation.tolist(),
        "learning_rate": config.learning_rate,
        "epochs": config.epochs,
        "parameters": sum(leaf.size // leaf.shape[0] for leaf in jax.tree.leaves(learning)),
        "cached": tuned.front,
        "cache_seconds": round(tuned.cache_seconds, 1),
        "seconds": round(tuned.seconds, 1),
        "rates": tuned.table.splitlines(),
        "diverged": False,
    }


def guessing(config: Training, classes: int) -> dict[str, Any]:
    """What a recipe that diverged counts as."""
    return {
        "test_accuracy": [1 / classes] * config.seeds,
        "validation_accuracy": None,
        "learning_rate": config.learning_rate,
        "epochs": config.epochs,
        "parameters": None,
        "cached": None,
        "cache_seconds": 0.0,
        "seconds": 0.0,
        "rates": [],
        "diverged": True,
    }


def compare(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the accuracies say about the claims.

    Args:
      found: recipe -> ``test_accuracy``, one for each seed.

    Returns:
      For each recipe how much better it is than from scratch, as ``paired`` gives it, with the
      ``claim`` and the ``verdict``: "reproduced" if the whole 95 % interval is positive. Nothing
      if "scratch" was not among them.
    """
    from cnnlab.report.statistics import paired, verdict

    if "scratch" not in found:
        return []
    rows = []
    for name, each in found.items():
        if name == "scratch":
            continue
        figure = paired(each["test_accuracy"], found["scratch"]["test_accuracy"])
        claim = f"{name} beats from scratch"
        rows.append({"claim": claim, **figure, "verdict": verdict(figure["interval"])})
    return rows


def said(result: Mapping[str, Any]) -> list[str]:
    """What result.json holds, in lines: every recipe, then the claims and what was recommended."""
    from cnnlab.report.statistics import percent

    lines = [f"from {result['origin']}"]
    for name, each in result["recipes"].items():
        cached = f", behind the cached {each['cached']}" if each["cached"] else ""
        lines.append(
            f"  {name}: test accuracy {percent(each['test_accuracy'])}, {each['epochs']} epochs in "
            f"{each['seconds']:.0f} s{cached}"
        )
    lines.append("")
    for row in result["claims"]:
        ends = ""
        if row["interval"] is not None:
            low, high = (100 * end for end in row["interval"])
            ends = f" (95 % interval {low:+.1f} to {high:+.1f})"
        lines.append(f"{row['claim']}: {100 * row['mean']:+.1f} points{ends}: {row['verdict']}")
    recommended = result["recommended"]
    if recommended is not None:
        lines.append(f"recommended: {recommended['recipe']}. {recommended['reason']}")
    return lines
