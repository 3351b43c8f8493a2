"""The claims about losses and starts, of the mean IoU of the U-Nets."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnnlab.report.statistics import paired
from cnnlab.studies.claims import Claim

_V_NET = "V-Net, PROMISE 2012, Dice 0.869 with the Dice loss, 0.739 with weighted cross-entropy"
_TERNAUS_NET = "TernausNet, IoU 0.686 with an encoder from ImageNet, 0.593 from scratch"

# losses whose difference is taken -> the claim, and the published figures
_LOSSES = {
    ("dice", "cross-entropy"): ("dice overlaps more than cross-entropy", ""),
    ("dice", "weighted"): ("dice overlaps more than weighted", _V_NET),
    ("both", "cross-entropy"): ("both losses together overlap more than cross-entropy alone", ""),
    ("both", "dice"): ("both losses together overlap more than dice alone", ""),
}

# starts whose difference is taken -> the claim, the published difference of IoU, and its source
_STARTS: dict[tuple[str, str], tuple[str, float | None, str]] = {
    ("pretrained", "scratch"): (
        "a classifier's encoder is a better start than random weights",
        0.686 - 0.593,
        _TERNAUS_NET,
    ),
    ("frozen first", "scratch"): (
        "frozen first, too, a classifier's encoder is a better start than random weights",
        None,
        "",
    ),
    ("frozen first", "pretrained"): ("a classifier's encoder is better frozen first", None, ""),
}


def compare(
    points: Sequence[Mapping[str, Any]], losses: Sequence[str], starts: Sequence[str]
) -> list[Claim]:
    """The claims, as differences of the mean IoU of the same seeds.

    Args:
      points: of the trainings: loss, start, scenes, mean_iou.
      losses: those that were compared.
      starts: those that were compared; none if they were not.
    """
    iou = {
        (each["loss"], each["start"], each["scenes"]): each["mean_iou"]["values"] for each in points
    }
    most = max(scenes for *_, scenes in iou)
    claims = [
        Claim(
            text,
            f"mean IoU: {ours} - {theirs}",
            paired(iou[ours, "scratch", most], iou[theirs, "scratch", most]),
            source=source,
        )
        for (ours, theirs), (text, source) in _LOSSES.items()
        if ours in losses and theirs in losses
    ]
    places = {(loss, scenes) for loss, start, scenes in iou if start != "scratch"}
    for loss, scenes in sorted(places, key=lambda place: place[1]):
        for (ours, theirs), (text, published, source) in _STARTS.items():
            if ours in starts and theirs in starts:
                figure = paired(iou[loss, ours, scenes], iou[loss, theirs, scenes])
                claims.append(
                    Claim(
                        text,
                        f"mean IoU: {ours} - {theirs}",
                        figure,
                        at=f"{scenes} scenes",
                        published=published,
                        source=source,
                    )
                )
    return claims
