"""The claims about the transferability of stages."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from cnnlab.report.statistics import paired
from cnnlab.studies.claims import Claim

from .class_splits import DISSIMILAR, RANDOM
from .config import TREATMENTS

ALIKE = DISSIMILAR["cifar10"][0]
"""The cut that is most like the paper's, of natural and man-made things."""

Accuracies = Mapping[str, np.ndarray]
"""Of one cut: "base" [R] and each of TREATMENTS [P, R], means over both directions."""

_GAIN = 0.016
_LOSS = {RANDOM: 0.08, ALIKE: 0.25}
_PAPER = "Yosinski et al., ImageNet, 8 layers"


def compare(
    cuts: Mapping[str, Accuracies], depths: Sequence[int], *, all_stages: bool
) -> list[Claim]:
    """The claims for each cut. Intervals are of one test each, not of all together.

    Args:
      cuts: name of the cut -> its accuracies; the random one first.
      depths: P of them, rising.
      all_stages: whether the largest keeps all stages but the head, as the published figures do.
    """
    claims = [
        claim for cut, each in cuts.items() for claim in _compare_cut(cut, each, depths, all_stages)
    ]
    if len(cuts) > 1:
        alike, unlike = ([each["base"] - each["AnB"][-1] for each in cuts.values()])[:2]
        published, source = None, ""
        if all_stages and ALIKE in cuts:
            published = 0.17
            source = f"{_PAPER}: 25 points for natural against man-made things, 8 for random halves"
        claims.append(
            Claim(
                "the loss is larger where the halves differ more",
                f"(base - AnB) at n = {depths[-1]}: of dissimilar halves - of random ones",
                paired(unlike, alike),
                at="both",
                published=published,
                source=source,
            )
        )
    return claims


def _compare_cut(
    cut: str, accuracies: Accuracies, depths: Sequence[int], all_stages: bool
) -> list[Claim]:
    base, bnb, bnb_plus, anb, anb_plus = (accuracies[name] for name in ("base", *TREATMENTS))
    claims = []

    def add(
        text: str,
        difference: str,
        ours: ArrayLike,
        theirs: ArrayLike,
        published: float | None = None,
    ) -> None:
        source = "" if published is None else f"{_PAPER}: {100 * published:+.1f} points"
        figure = paired(ours, theirs)
        claims.append(Claim(text, difference, figure, cut, published, source))

    add(
        "transferred stages, fine-tuned, beat the base network",
        *("AnB+ - base, mean over n", anb_plus.mean(0), base),
        _GAIN if cut == RANDOM else None,
    )
    add(
        "the gain is not from longer training alone",
        *("AnB+ - BnB+, mean over n", anb_plus.mean(0), bnb_plus.mean(0)),
    )
    if len(depths) > 2:
        middle = f"n = {', '.join(map(str, depths[1:-1]))}"
        add(
            "frozen stages of the same half are worst when parted in the middle",
            f"BnB at the ends - at {middle}",
            *(bnb[[0, -1]].mean(0), bnb[1:-1].mean(0)),
        )
        add(
            "fine-tuning recovers the loss in the middle",
            f"BnB+ - BnB at {middle}",
            *(bnb_plus[1:-1].mean(0), bnb[1:-1].mean(0)),
        )
    at = f"at n = {depths[-1]}"
    add(
        "the last stages are specific: the other half's, frozen, are worse than the base",
        *(f"base - AnB {at}", base, anb[-1]),
        _LOSS.get(cut) if all_stages else None,
    )
    add(
        "the other half's last stages, frozen, are worse than those of the same half",
        f"BnB - AnB {at}",
        bnb[-1],
        anb[-1],
    )
    return claims
