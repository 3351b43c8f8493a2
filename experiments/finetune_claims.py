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


def diverged(config: Training) -> dict[str, Any]:
    """What result.json says of a recipe that diverged: nothing was measured."""
    return {
        "test_accuracy": None,
        "validation_accuracy": None,
        "learning_rate": config.learning_rate,
        "epochs": config.epochs,
        "parameters": None,
        "cached": None,
        "cache_seconds": None,
        "seconds": None,
        "rates": [],
        "diverged": True,
    }


def compare(found: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the accuracies say about the claims.

    Args:
      found: recipe -> ``test_accuracy``, one for each seed, or None; ``epochs``; ``seconds``.

    Returns:
      For each recipe how much better it is than from scratch, as ``paired`` gives it, with the
      ``claim``, the budgets of both (``epochs``, ``seconds``, ``scratch_epochs``,
      ``scratch_seconds``) and the ``verdict``: "reproduced" if the whole 95 % interval is positive.
      Where scratch had fewer epochs it says so, if it had at least as much time, and otherwise that
      they are not comparable. Nothing of a recipe that diverged, nor if "scratch" did or was not
      among them.
    """
    from cnnlab.report.statistics import paired, verdict

    scratch = found.get("scratch")
    if scratch is None or scratch["test_accuracy"] is None:
        return []
    rows = []
    for name, each in found.items():
        if name == "scratch" or each["test_accuracy"] is None:
            continue
        figure = paired(each["test_accuracy"], scratch["test_accuracy"])
        budget = {key: each[key] for key in ("epochs", "seconds")}
        less = {key: scratch[key] < value for key, value in budget.items()}
        budget |= {f"scratch_{key}": scratch[key] for key in budget}
        said = verdict(figure["interval"])
        if said == "reproduced" and less["epochs"]:
            said += " (from scratch had fewer epochs, but more time)"
            if less["seconds"]:
                said = "not comparable: scratch had less"
        claim = f"{name} beats from scratch"
        rows.append({"claim": claim, **figure, **budget, "verdict": said})
    return rows


def said(result: Mapping[str, Any]) -> list[str]:
    """What result.json holds, in lines: every recipe, then the claims and what was recommended."""
    from cnnlab.report.statistics import percent, points

    lines = [f"from {result['origin']}"]
    for name, each in result["recipes"].items():
        if each["diverged"]:
            rate = each["learning_rate"]
            lines.append(f"  {name}: diverged at a learning rate of {rate:g}, not compared")
            continue
        cached = f", behind the cached {each['cached']}" if each["cached"] else ""
        lines.append(
            f"  {name}: test accuracy {percent(each['test_accuracy'])}, {each['epochs']} epochs in "
            f"{each['seconds']:.0f} s{cached}"
        )
    lines.append("")
    for row in result["claims"]:
        lines.append(
            f"{row['claim']}: {points(row, 1)}, {row['epochs']} epochs, "
            f"{row['seconds']:.0f} s, against {row['scratch_epochs']} epochs from scratch, "
            f"{row['scratch_seconds']:.0f} s: {row['verdict']}"
        )
    recommended = result["recommended"]
    if recommended is not None:
        lines.append(f"recommended: {recommended['recipe']}. {recommended['reason']}")
    return lines
