"""Every recipe of fine-tuning, in words."""

from collections.abc import Mapping
from typing import Any

from cnnlab.report.statistics import percent


def recipe_line(name: str, recipe: Mapping[str, Any]) -> str:
    """The accuracy of a recipe and its cost, as a line of text.

    Args:
      name: of the recipe.
      recipe: its part of result.json.
    """
    if recipe["diverged"]:
        rate = recipe["learning_rate"]
        return f"{name}: diverged at a learning rate of {rate:g}, not compared"
    cached = f", after the cached {recipe['cached']}" if recipe["cached"] else ""
    return (
        f"{name}: test accuracy {percent(recipe['test_accuracy'])}, {recipe['epochs']} epochs in "
        f"{recipe['seconds']:.0f} s{cached}"
    )


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The content of result.json as lines of text: every recipe, then the recommended one."""
    lines = [f"from {result['origin']}"]
    lines += [f"  {recipe_line(name, each)}" for name, each in result["recipes"].items()]
    recommended = result["recommended"]
    if recommended is not None:
        lines += ["", f"recommended: {recommended['recipe']}. {recommended['reason']}"]
    return lines
