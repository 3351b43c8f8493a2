"""What networks with and without pretraining say about what it is good for.

Importing this module imports no jax.
"""

from collections.abc import Mapping, Sequence
from typing import Any

METHODS = {
    "none": "no pretraining",
    "relu": "no pretraining, ReLU",
    "autoencoder": "autoencoders",
    "denoising": "denoising autoencoders",
    "rbm": "Boltzmann machines",
}
"""What ``Config.methods`` are called in words; the last three are pretrained."""

PRETRAINED = ("autoencoder", "denoising", "rbm")

Points = Sequence[Mapping[str, Any]]


def compare(points: Points, *, same_images: bool = False) -> list[dict[str, Any]]:
    """What the test accuracies say about the claims.

    Args:
      points: ``method``, ``labels`` (images a class; the same ones for each method) and
        ``test_accuracy`` as ``over_seeds`` gives it.
      same_images: whether all seeds had the same labelled images. If not, what varies is their
        draw as well as weights and order, and the claim says so.

    Returns:
      For each claim and each place where it is tested: ``claim``, ``at``, ``ours`` and ``theirs``
      (methods), the figure as ``statistics.paired`` or ``varies_less`` gives it, and ``verdict``:
      "reproduced" if the whole 95 % interval is positive. Intervals are of one test each, not of
      all tests together.
    """
    import numpy as np

    from cnnlab.report.statistics import paired, varies_less, verdict

    found = {
        (each["method"], each["labels"]): np.asarray(each["test_accuracy"]["values"], np.float64)
        for each in points
    }
    methods = list(dict.fromkeys(method for method, _ in found))
    labels = sorted({count for _, count in found})
    few, many = labels[0], labels[-1]
    rows: list[dict[str, Any]] = []
    over = "from seed to seed" if same_images else "over draws of labels and seeds"

    def tell(claim: str, at: str, ours: str, theirs: str, figure: dict[str, Any]) -> None:
        named = {"claim": claim, "at": at, "ours": ours, "theirs": theirs}
        rows.append({**named, **figure, "verdict": verdict(figure["interval"])})

    for method in (each for each in methods if each in PRETRAINED and "none" in methods):
        name = METHODS[method]
        gains = {count: found[method, count] - found["none", count] for count in labels}
        for count in labels:
            figure = paired(found[method, count], found["none", count])
            tell(f"pretraining with {name} helps", _at(count), method, "none", figure)
        if few < many:
            claim = f"pretraining with {name} helps most with few labels"
            at = f"{few} against {many} a class"
            tell(claim, at, method, "none", paired(gains[few], gains[many]))
        for count in labels:
            figure = varies_less(found[method, count], found["none", count])
            claim = f"networks pretrained with {name} vary less {over}"
            tell(claim, _at(count), method, "none", figure)
    for claim, ours, theirs in (
        ("corruption helps autoencoders", "denoising", "autoencoder"),
        *(
            (f"ReLU from scratch beats a sigmoid network pretrained with {METHODS[m]}", "relu", m)
            for m in PRETRAINED
        ),
    ):
        for count in labels if {ours, theirs} <= set(methods) else ():
            tell(claim, _at(count), ours, theirs, paired(found[ours, count], found[theirs, count]))
    return rows


# What is said --------------------------------------------------------------------------------


def _at(labels: int) -> str:
    return f"{labels} a class"


def line(point: Mapping[str, Any]) -> str:
    """What the networks of one method and number of labels have come to."""
    from cnnlab.report.statistics import percent

    return (
        f"{METHODS[point['method']]}, {_at(point['labels'])}: test accuracy "
        f"{percent(point['test_accuracy'])}, at the end of training "
        f"{percent(point['train_accuracy'])} on its own images"
    )


def said(result: Mapping[str, Any]) -> list[str]:
    """What result.json holds, in lines: every method and number of labels, then the claims."""
    found = [line(each) for each in result["points"]]
    return [*found, "", *conclusions(result["claims"])]


def conclusions(claims: Points) -> list[str]:
    """Lines that say what ``compare`` found."""
    return [f"{row['claim']}, {row['at']}: {_figure(row)}: {row['verdict']}" for row in claims]


def _figure(row: Mapping[str, Any]) -> str:
    import math

    from cnnlab.report.statistics import points

    if "ratio" in row:
        if row["ratio"] is None:
            return "no ratio"
        low, high = (math.exp(end) for end in row["interval"])
        interval = f"Pitman and Morgan's 95 % interval {low:.2f} to {high:.2f}"
        return f"deviation {row['ratio']:.2f} times less ({interval})"
    return points(row)
