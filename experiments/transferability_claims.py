"""What networks with another network's front say about how transferable its stages are.

Importing this module imports no jax.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from experiments.halves import HALVES, RANDOM

if TYPE_CHECKING:
    import numpy as np

ALIKE = HALVES["cifar10"]
"""The cut that is most like the paper's, of natural and man-made things."""

TREATMENTS = {
    "BnB": "BnB: own front, frozen",
    "BnB+": "BnB+: own front, fine-tuned",
    "AnB": "AnB: the other half's front, frozen",
    "AnB+": "AnB+: the other half's front, fine-tuned",
}


Accuracies = Mapping[str, "np.ndarray"]
"""Of one cut: "base" [R] and each of TREATMENTS [P, R], means over both directions."""


def compare(
    cuts: Mapping[str, Accuracies], depths: Sequence[int], *, whole: bool
) -> list[dict[str, Any]]:
    """What the test accuracies say about the claims.

    Args:
      cuts: name of the cut -> its accuracies; the random one first.
      depths: P of them, rising.
      whole: whether the largest keeps all stages but the head, as the published figures do.

    Returns:
      For each claim and cut: ``claim``, ``cut``, ``difference`` (what is positive if the claim
      holds), ``published`` points if known, the difference as ``statistics.paired`` gives it and
      ``verdict``. Intervals are of one test each, not of all together.
    """
    rows: list[dict[str, Any]] = []

    def add(claim: str, cut: str, said: str, ours: Any, theirs: Any, published: Any = None) -> None:
        from cnnlab.report.statistics import paired, verdict

        figure = paired(ours, theirs)
        named = {"claim": claim, "cut": cut, "difference": said, "published": published}
        rows.append({**named, **figure, "verdict": verdict(figure["interval"])})

    last = depths[-1]
    for cut, found in cuts.items():
        base, bnb, bnb_plus, anb, anb_plus = (found[name] for name in ("base", *TREATMENTS))
        at = f"at n = {last}"
        add(
            "a transferred front, fine-tuned, beats the base network",
            *(cut, "AnB+ - base, mean over n", anb_plus.mean(0), base),
            0.016 if cut == RANDOM else None,
        )
        claim = "and not because it is trained for longer"
        add(claim, cut, "AnB+ - BnB+, mean over n", anb_plus.mean(0), bnb_plus.mean(0))
        if len(depths) > 2:
            ends = bnb[[0, -1]].mean(0)
            middle = f"n = {', '.join(map(str, depths[1:-1]))}"
            claim = "a frozen front of its own is worst parted in the middle"
            add(claim, cut, f"BnB at the ends - at {middle}", ends, bnb[1:-1].mean(0))
            claim = "and fine-tuning mends it"
            add(claim, cut, f"BnB+ - BnB at {middle}", bnb_plus[1:-1].mean(0), bnb[1:-1].mean(0))
        claim = "the last stages are specific: the other half's frozen front falls behind"
        published = {RANDOM: 0.08, ALIKE[0]: 0.25}.get(cut) if whole else None
        add(claim, cut, f"base - AnB {at}", base, anb[-1], published)
        add("and further than a front of its own", cut, f"BnB - AnB {at}", bnb[-1], anb[-1])
    if len(cuts) > 1:
        alike, unlike = ([found["base"] - found["AnB"][-1] for found in cuts.values()])[:2]
        claim = "it falls further behind where the halves differ more"
        said = f"(base - AnB) {at}: of the given halves - of random ones"
        add(claim, "both", said, unlike, alike, 0.17 if whole and ALIKE[0] in cuts else None)
    return rows


def said(result: Mapping[str, Any]) -> list[str]:
    """What result.json holds, in lines: every treatment at every n, then the claims."""
    from cnnlab.report.statistics import percent

    found = []
    for cut, each in result["cuts"].items():
        found.append(f"{cut}: base {percent(each['base'])}")
        for treatment in TREATMENTS:
            own = [row for row in each["treatments"] if row["treatment"] == treatment]
            told = ", ".join(f"n={row['depth']} {percent(row['test_accuracy'])}" for row in own)
            found.append(f"  {treatment:4}  {told}")
    return [*found, "", *map(line, result["claims"])]


def line(row: Mapping[str, Any]) -> str:
    """A claim, what was found and what was published."""
    from cnnlab.report.statistics import points

    known = row["published"]
    there = "" if known is None else f", published {100 * known:+.1f}"
    return (
        f"{row['claim']} [{row['cut']}]: {row['difference']} {points(row)}{there}: {row['verdict']}"
    )
