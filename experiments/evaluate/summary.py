"""The scores of networks, as a table."""

from collections.abc import Callable, Mapping
from typing import Any

from cnnlab.report.statistics import percent


def summary_lines(result: Mapping[str, Any]) -> list[str]:
    """The scores as lines of text, then a warning where views hurt."""
    plain = result.get("plain")

    def beside(name: str, text: Callable[[Any], str]) -> str:
        """The score, and that of single passes beside it."""
        return text(result[name]) + (f"; of one pass {text(plain[name])}" if plain else "")

    networks = len(result["accuracy"]["values"])
    errors = [("calibration error", beside("ece", percent))]
    if networks > 1:
        errors = [
            ("calibration error, mean", beside("ece", percent)),
            ("calibration error, pooled", f"{100 * result['pooled_ece']:.2f} % (in the figure)"),
        ]
    rows = [
        (f"{result['dataset']}, {result['part']} part", f"{result['examples']:,} images"),
        ("accuracy", beside("accuracy", percent)),
        ("loss", beside("loss", lambda figure: f"{figure['mean']:.4f} nats")),
        *errors,
        *((name, percent(figure)) for name, figure in result["per_class"].items()),
    ]
    width = max(len(name) for name, _ in rows[1:])
    lines = [f"{name.ljust(width)}  {text}" for name, text in rows]
    return [*lines, *_warnings(result)]


def _warnings(result: Mapping[str, Any]) -> list[str]:
    """One line where averaging over views or masks of dropout made accuracy or loss worse."""
    plain = result.get("plain")
    if not plain:
        return []
    lost = 100 * (plain["accuracy"]["mean"] - result["accuracy"]["mean"])
    higher = result["loss"]["mean"] - plain["loss"]["mean"]
    worse = [f"lowers the accuracy by {lost:.2f} points"] if lost > 0 else []
    worse += [f"raises the loss by {higher:.4f} nats"] if higher > 0 else []
    if not worse:
        return []
    return [
        f"warning: averaging {' and '.join(worse)}. Views help where the network was trained on "
        "such images: mirrored ones with --flip, shifted ones with --crop."
    ]
