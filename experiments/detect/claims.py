"""The claims about a classifier's convolutions and about boxes, of the average precision."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnnlab.report.statistics import paired
from cnnlab.studies.claims import Claim

# name and regression of points
_TUNED, _UNCORRECTED = ("fine-tuned", "applied"), ("fine-tuned", "not applied")
_FROZEN, _SCRATCH = ("frozen", "applied"), ("from scratch", "applied")
_CLASSES = ("classes only", "not trained")

_SOURCE = "Fast R-CNN, VGG16, PASCAL VOC 2007"

# the points whose difference is taken -> the claim; and the published difference of mean average
# precision at an IoU of 0.5, with its two figures
_CLAIMS = {
    (_TUNED, _FROZEN): "fine-tuning the convolutions beats keeping them",
    (_TUNED, _SCRATCH): "a classifier's convolutions beat a start from scratch",
    (_FROZEN, _SCRATCH): "even frozen, a classifier's convolutions beat a start from scratch",
    (_TUNED, _CLASSES): "correcting boxes beats classes alone",
    (_UNCORRECTED, _CLASSES): "training the correction helps where it is not applied",
}
_PUBLISHED = {
    (_TUNED, _FROZEN): (0.669 - 0.614, "66.9 from conv3_1 on fine-tuned, 61.4 frozen"),
    (_TUNED, _CLASSES): (0.669 - 0.626, "66.9 with box regression, 62.6 without"),
    (_UNCORRECTED, _CLASSES): (0.634 - 0.626, "63.4 trained with boxes, 62.6 without"),
}


def compare(points: Sequence[Mapping[str, Any]], overlaps: Sequence[float]) -> list[Claim]:
    """The claims, as differences of the mean average precision of the same seeds.

    Args:
      points: name, regression and average_precision of each.
      overlaps: the IoU from which on a detection is right; a claim for each of them.
    """
    precision = {(each["name"], each["regression"]): each["average_precision"] for each in points}
    claims = []
    for (ours, theirs), text in _CLAIMS.items():
        difference = " - ".join(f"{name} (boxes {use})" for name, use in (ours, theirs))
        for overlap in overlaps:
            key = f"{overlap:g}"
            figure = paired(precision[ours][key]["values"], precision[theirs][key]["values"])
            known = _PUBLISHED.get((ours, theirs)) if overlap == 0.5 else None
            published, figures = known or (None, "")
            source = f"{_SOURCE}: {figures}" if figures else ""
            at = f"IoU {key}"
            claims.append(
                Claim(text, difference, figure, at=at, published=published, source=source)
            )
    return claims
