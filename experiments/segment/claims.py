"""The claims about losses and starts, of the mean IoU of the U-Nets."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnnlab.report.statistics import paired
from cnnlab.studies.claims import Claim

# losses, then starts, whose difference is taken -> the claim
_LOSSES = {
    ("dice", "cross-entropy"): "dice overlaps more than cross-entropy",
    ("dice", "weighted"): "dice overlaps more than weighted",
    ("both", "cross-entropy"): "both losses together overlap more than cross-entropy alone",
    ("both", "dice"): "both losses together overlap more than dice alone",
}
_STARTS = {
    ("pretrained", "scratch"): "a classifier's encoder is a better start than random weights",
    ("frozen first", "scratch"): "a classifier's encoder, frozen first, beats random weights",
    ("frozen first", "pretrained"): "a classifier's encoder is better frozen first",
}

_TERNAUS_NET = "TernausNet, IoU 0.686 with an encoder from ImageNet, 0.593 from scratch"
_V_NET = "V-Net, PROMISE 2012, Dice 0.869 with the Dice loss, 0.739 with weighted cross-entropy"
_PUBLISHED: dict[tuple[str, str], tuple[float | None, str]] = {
    ("pretrained", "scratch"): (0.686 - 0.593, _TERNAUS_NET),
    ("dice", "weighted"): (None, _V_NET),  # a difference of Dice, not of IoU
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
    claims = []

    def add(text: str, names: tuple[str, str], ours: Any, theirs: Any, at: str = "") -> None:
        published, source = _PUBLISHED.get(names, (None, ""))
        difference, figure = "mean IoU: {} - {}".format(*names), paired(iou[ours], iou[theirs])
        claims.append(Claim(text, difference, figure, at=at, published=published, source=source))

    for (ours, theirs), text in _LOSSES.items():
        if ours in losses and theirs in losses:
            add(text, (ours, theirs), (ours, "scratch", most), (theirs, "scratch", most))
    places = {(loss, scenes) for loss, start, scenes in iou if start != "scratch"}
    for loss, scenes in sorted(places, key=lambda place: place[1]):
        for (ours, theirs), text in _STARTS.items():
            if ours in starts and theirs in starts:
                sides = (loss, ours, scenes), (loss, theirs, scenes)
                add(text, (ours, theirs), *sides, at=f"{scenes} scenes")
    return claims
