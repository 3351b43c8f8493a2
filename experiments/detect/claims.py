"""The claims about a classifier's convolutions and about boxes, of the average precision."""

from collections.abc import Mapping, Sequence
from typing import Any

from cnnlab.report.statistics import paired
from cnnlab.studies.claims import Claim

# claim -> the better detector and the other one, each with the use of its boxes; the published
# difference of mean average precision at an IoU of 0.5, and its figures
_CLAIMS: dict[str, tuple[tuple[str, str], tuple[str, str], float | None, str]] = {
    "fine-tuning the convolutions beats keeping them": (
        ("fine-tuned", "applied"),
        ("frozen", "applied"),
        0.669 - 0.614,
        "Fast R-CNN, VGG16, VOC 2007: 66.9 from conv3_1 on fine-tuned, 61.4 frozen",
    ),
    "a classifier's convolutions beat a start from scratch": (
        ("fine-tuned", "applied"),
        ("from scratch", "applied"),
        None,
        "",
    ),
    "even kept as they are they beat a start from scratch": (
        ("frozen", "applied"),
        ("from scratch", "applied"),
        None,
        "",
    ),
    "correcting boxes beats classes alone": (
        ("fine-tuned", "applied"),
        ("classes only", "not trained"),
        0.669 - 0.626,
        "Fast R-CNN, VGG16, VOC 2007: 66.9 with box regression, 62.6 without",
    ),
    "training the correction helps where it is not applied": (
        ("fine-tuned", "not applied"),
        ("classes only", "not trained"),
        0.634 - 0.626,
        "Fast R-CNN, VGG16, VOC 2007: 63.4 trained with box regression, 62.6 without",
    ),
}


def compare(points: Sequence[Mapping[str, Any]], overlaps: Sequence[float]) -> list[Claim]:
    """The claims, as differences of the mean average precision of the same seeds.

    Args:
      points: name, regression and average_precision of each.
      overlaps: the IoU from which on a detection is right; a claim for each of them.
    """
    precision = {(each["name"], each["regression"]): each["average_precision"] for each in points}
    claims = []
    for text, (ours, theirs, published, source) in _CLAIMS.items():
        for overlap in overlaps:
            at = f"{overlap:g}"
            claims.append(
                Claim(
                    text,
                    " - ".join(f"{name} (boxes {use})" for name, use in (ours, theirs)),
                    paired(precision[ours][at]["values"], precision[theirs][at]["values"]),
                    at=f"IoU {at}",
                    published=published if overlap == 0.5 else None,
                    source=source if overlap == 0.5 else "",
                )
            )
    return claims
