"""What is read off the stages of a network says about what they have learned.

Importing this module imports no jax.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

PIXELS = "pixels"

METHODS = {
    "ridge": "linear probe, ridge",
    "logistic": "linear probe, logistic",
    "l2": "nearest neighbours, L2",
    "cosine": "nearest neighbours, cosine",
}

NETWORKS = {"trained": "trained", "untrained": "random weights"}

Correct = Mapping[str, Mapping[str, Mapping[str, "np.ndarray"]]]
"""network -> method -> stage -> which test images are right, bool ``[R, N]``; the network "pixels"
has one stage of that name and R = 1."""


def points(correct: Correct) -> list[dict[str, Any]]:
    """The accuracy of each method on each stage of each network, with its interval."""
    return [
        {"network": network, "method": method, "stage": stage, **interval(right)}
        for network, methods in correct.items()
        for method, stages in methods.items()
        for stage, right in stages.items()
    ]


def interval(right: "np.ndarray") -> dict[str, Any]:
    """Accuracy over seeds, with Student's interval; of one network, Wilson's over test images.

    Args:
      right: bool ``[R, N]``.

    Returns:
      What ``with_interval`` gives, ``interval`` of 95 % and ``interval_over``: "seeds" or "images".
    """
    from cnnlab.report.statistics import wilson, with_interval

    found = with_interval(right.mean(1))
    if len(right) > 1:
        return {**found, "interval_over": "seeds"}
    ends = wilson(int(right.sum()), right.size)
    return {**found, "interval": ends, "interval_over": "images"}


def compare(correct: Correct, probe: str) -> list[dict[str, Any]]:
    """What the test accuracies say about the claims.

    Args:
      correct: see ``Correct``.
      probe: the linear probe that the claims are about, "logistic" or "ridge".

    Returns:
      For each claim and each stage where it is tested: ``claim``, ``at``, ``method``, the
      difference with its 95 % interval, ``interval_over`` and ``verdict``. Intervals are of one
      test each. They are over "seeds" where there are several trained networks, paired, the test
      images given; of one trained network over "images" by bootstrap, the networks given; and
      against several random ones over "seeds and images": Student's over those and the bootstrap
      together, as ``statistics.over_both`` does it, the trained network given.
    """
    rows = []
    trained, control = correct["trained"], correct["untrained"]
    stages = list(trained[probe])
    pixels = correct[PIXELS]
    before = {PIXELS: pixels[probe][PIXELS], **trained[probe]}
    for earlier, stage in zip(before, stages, strict=False):
        rows.append(
            _row(
                "a linear probe reads more off a stage than off the one before",
                f"{stage} against {earlier}",
                probe,
                trained[probe][stage],
                before[earlier],
            )
        )
    for stage in stages:
        rows.append(
            _row(
                "a linear probe reads more off trained stages than off random ones",
                stage,
                probe,
                trained[probe][stage],
                control[probe][stage],
            )
        )
    last = deepest(stages)
    for metric in ("l2", "cosine"):
        rows.append(
            _row(
                "neighbours in features are more often of the right class than in pixels",
                f"{last} against pixels",
                metric,
                trained[metric][last],
                pixels[metric][PIXELS],
            )
        )
    return rows


def deepest(stages: Sequence[str]) -> str:
    """The last stage before the classifier: where features are taken."""
    return stages[-2] if len(stages) > 1 else stages[-1]


def curves(found: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The points as the panels of ``report.feature_figures.accuracy_by_stage``."""
    panels: dict[str, dict[str, Any]] = {}
    for panel, methods in (
        ("linear probes", ("ridge", "logistic")),
        ("nearest neighbours", ("l2", "cosine")),
    ):
        for network, called in NETWORKS.items():
            for method in methods:
                own = [
                    each
                    for each in found
                    if each["method"] == method and each["network"] in (PIXELS, network)
                ]
                if all(each["network"] == PIXELS for each in own):
                    continue
                own.sort(key=lambda each: each["network"] != PIXELS)
                ends = [each["interval"] for each in own]
                panels.setdefault(panel, {})[f"{called}, {_short(method)}"] = {
                    "mean": [each["mean"] for each in own],
                    "low": [low for low, _ in ends],
                    "high": [high for _, high in ends],
                }
    return panels


def table(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines: a stage each, a column for each network and method."""
    stages = list(dict.fromkeys(each["stage"] for each in found))
    methods = list(dict.fromkeys(each["method"] for each in found))
    heads = [(network, method) for method in methods for network in NETWORKS]
    rows = [["", *(f"{_short(m)}, {NETWORKS[n]}" for n, m in heads)]]
    for stage in stages:
        cells = []
        for network, method in heads:
            own = [
                each
                for each in found
                if (each["stage"], each["method"]) == (stage, method)
                and each["network"] in (network, PIXELS)
            ]
            cells.append(_percent(own[0]) if own else "")
        rows.append([stage, *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]


def conclusions(claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines that say what ``compare`` found."""
    from cnnlab.report import statistics

    over = {
        "seeds": "over seeds",
        "images": "over images by bootstrap",
        "seeds and images": "over seeds and images",
    }
    return [
        f"{row['claim']}, {row['at']}, {_short(row['method'])}: "
        f"{statistics.points(row, of=over[row['interval_over']])}: {row['verdict']}"
        for row in claims
    ]


def _row(
    claim: str, at: str, method: str, ours: "np.ndarray", theirs: "np.ndarray"
) -> dict[str, Any]:
    import numpy as np

    from cnnlab.report.statistics import paired, paired_bootstrap, paired_over_both, verdict

    if len(ours) > 1:
        means = theirs.mean(1)
        difference = paired(ours.mean(1), np.broadcast_to(means, (len(ours),)))
        over = "seeds"
    elif len(theirs) > 1:
        found = paired_over_both(ours, theirs)
        images, both = found.pop("images"), found.pop("both")
        same = {"mean": found["mean"], "confidence": found["confidence"]}
        difference = {**same, "interval": both, "over_seeds": found, "over_images": images}
        over = "seeds and images"
    else:
        difference, over = paired_bootstrap(ours[0], theirs[0]), "images"
    named = {"claim": claim, "at": at, "method": method, "interval_over": over}
    return {**named, **difference, "verdict": verdict(difference["interval"])}


def _short(method: str) -> str:
    return METHODS[method].rpartition(", ")[2]


def _percent(point: Mapping[str, Any]) -> str:
    text = f"{100 * point['mean']:.2f}"
    if point["standard_error"] is not None:
        text += f" ± {100 * point['standard_error']:.2f}"
    return text
