"""The claims about pretraining, of the test accuracies with each number of labels."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnlab.report.statistics import paired, varies_less
from cnnlab.studies.claims import Claim

from .config import METHODS, PRETRAINED


def compare(points: Sequence[Mapping[str, Any]], *, same_images: bool = False) -> list[Claim]:
    """The claims, each tested by itself with each number of labels.

    Args:
      points: ``method``, ``labels`` (images a class; the same ones for each method) and
        ``test_accuracy`` as ``over_seeds`` gives it.
      same_images: whether all seeds had the same labelled images. If not, what varies is their
        draw as well as weights and order, and the claim says so.
    """
    accuracy = {
        (each["method"], each["labels"]): np.asarray(each["test_accuracy"]["values"], np.float64)
        for each in points
    }
    methods = list(dict.fromkeys(method for method, _ in accuracy))
    labels = sorted({count for _, count in accuracy})
    few, many = labels[0], labels[-1]
    claims = []

    def add(text: str, difference: str, at: str, sides: tuple[str, str], figure: Any) -> None:
        extra = dict(zip(("ours", "theirs"), sides, strict=True))
        if "ratio" in figure:
            over = "by Pitman and Morgan's test"
            claim = Claim(text, difference, figure, at, over=over, unit="log ratio", extra=extra)
        else:
            claim = Claim(text, f"accuracy: {difference}", figure, at, extra=extra)
        claims.append(claim)

    def add_gains(text: str, ours: str, theirs: str) -> None:
        for count in labels:
            figure = paired(accuracy[ours, count], accuracy[theirs, count])
            add(text, f"{ours} - {theirs}", f"{count} a class", (ours, theirs), figure)

    for method in (each for each in methods if each in PRETRAINED and "none" in methods):
        name, sides = METHODS[method], (method, "none")
        add_gains(f"pretraining with {name} helps", *sides)
        if few < many:
            left, right = (accuracy[method, n] - accuracy["none", n] for n in (few, many))
            text = f"pretraining with {name} helps most with few labels"
            at = f"{few} against {many} a class"
            add(
                text,
                f"gain with {few} - with {many}",
                at,
                sides,
                paired(left, right),
            )
        over = "from seed to seed" if same_images else "over draws of labels and seeds"
        for count in labels:
            figure = varies_less(accuracy[method, count], accuracy["none", count])
            text = f"networks pretrained with {name} vary less {over}"
            difference = f"standard deviation: none / {method}"
            add(text, difference, f"{count} a class", sides, figure)
    if {"denoising", "autoencoder"} <= set(methods):
        add_gains("corruption helps autoencoders", "denoising", "autoencoder")
    for method in PRETRAINED:
        if {"relu", method} <= set(methods):
            text = f"ReLU from scratch beats a sigmoid network pretrained with {METHODS[method]}"
            add_gains(text, "relu", method)
    return claims
