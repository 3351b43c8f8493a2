"""The accuracies of probes and neighbours, and the claims about them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnlab.report.statistics import (
    paired,
    paired_bootstrap,
    paired_over_both,
    wilson,
    with_interval,
)
from cnnlab.studies.claims import Claim

from .config import METHODS, PIXELS
from .measurements import Correct


def accuracies(correct: Correct) -> list[dict[str, Any]]:
    """The accuracy of each method on each stage of each network, with its interval."""
    return [
        {"network": network, "method": method, "stage": stage, **accuracy(right)}
        for network, methods in correct.items()
        for method, stages in methods.items()
        for stage, right in stages.items()
    ]


def accuracy(right: np.ndarray) -> dict[str, Any]:
    """Accuracy over seeds, with Student's interval; of one network, Wilson's over test images.

    Args:
      right: bool ``[R, N]``.

    Returns:
      The dictionary of ``with_interval``, ``interval`` of 95 % and ``interval_over``: "seeds" or
      "images".
    """
    figure = with_interval(right.mean(1))
    if len(right) > 1:
        return {**figure, "interval_over": "seeds"}
    ends = wilson(int(right.sum()), right.size)
    return {**figure, "interval": ends, "interval_over": "images"}


def compare(correct: Correct, probe: str) -> list[Claim]:
    """The claims, each at every stage where it is tested.

    Intervals are of one test each. They are over "seeds" where there are several trained networks,
    paired, these test images given; of one trained network over "images" by bootstrap, these
    networks given; and against several random ones over "seeds and images": Student's over those
    and the bootstrap together, as ``statistics.over_both`` does it, the trained network given.

    Args:
      correct: which test images are right.
      probe: the linear probe that the claims are about, "logistic" or "ridge".
    """
    trained, control, pixels = correct["trained"], correct["untrained"], correct[PIXELS]
    stages = list(trained[probe])
    by_stage = {PIXELS: pixels[probe][PIXELS], **trained[probe]}
    claims = [
        _claim(
            "a linear probe is more accurate at a stage than at the one before",
            *(stage, probe, f"{stage} - {earlier}"),
            *(by_stage[stage], by_stage[earlier]),
        )
        for earlier, stage in zip(by_stage, stages, strict=False)
    ]
    claims += [
        _claim(
            "a linear probe is more accurate at trained stages than at random ones",
            *(stage, probe, "trained - random weights"),
            *(trained[probe][stage], control[probe][stage]),
        )
        for stage in stages
    ]
    last = deepest(stages)
    claims += [
        _claim(
            "nearest neighbours in features are more often of the right class than in pixels",
            *(last, metric, f"{last} - {PIXELS}"),
            *(trained[metric][last], pixels[metric][PIXELS]),
        )
        for metric in ("l2", "cosine")
    ]
    return claims


def deepest(stages: Sequence[str]) -> str:
    """The last stage before the classifier: where features are taken."""
    return stages[-2] if len(stages) > 1 else stages[-1]


def _claim(
    text: str, stage: str, method: str, difference: str, ours: np.ndarray, theirs: np.ndarray
) -> Claim:
    """The claim that ours ``[R, N]`` are right more often than theirs, with its interval."""
    extra: dict[str, Any] = {"stage": stage, "method": method}
    if len(ours) > 1:
        figure = paired(ours.mean(1), np.broadcast_to(theirs.mean(1), (len(ours),)))
        over = "seeds"
    elif len(theirs) > 1:
        seeds = paired_over_both(ours, theirs)
        images, both = seeds.pop("images"), seeds.pop("both")
        extra |= {"over_seeds": seeds, "over_images": images}
        figure = {"mean": seeds["mean"], "confidence": seeds["confidence"], "interval": both}
        over = "seeds and images"
    else:
        figure, over = paired_bootstrap(ours[0], theirs[0]), "images"
    at = f"{stage}, {METHODS[method]}"
    return Claim(text, f"accuracy: {difference}", figure, at=at, over=over, extra=extra)
