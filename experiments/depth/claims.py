"""The claims about depth, of the errors of plain and residual networks."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnlab.report.statistics import paired
from cnnlab.studies.claims import Claim

PUBLISHED = {(20, 56): 0.0875 - 0.0697, (20, 110): 0.0875 - 0.0643}
"""(shallow, deep) -> by how much the deeper residual network's test error is lower, CIFAR-10."""


def compare(errors: Mapping[tuple[str, int], Mapping[str, Any]]) -> list[Claim]:
    """The claims on the training images and on the test part.

    Args:
      errors: (kind, depth) -> ``errors`` of the seeds, "train" and "test".
    """
    depths = [depth for _, depth in errors]
    shallow, deep = min(depths), max(depths)
    lost, gained = f"plain{deep} - plain{shallow}", f"resnet{shallow} - resnet{deep}"
    harm = "depth does a plain network more harm than a residual one"
    claims = []
    for part in ("train", "test"):
        error = {place: np.asarray(each["errors"][part]) for place, each in errors.items()}
        plain_deep, plain_shallow = error["plain", deep], error["plain", shallow]
        deep_net, shallow_net = error["residual", deep], error["residual", shallow]
        better = PUBLISHED.get((shallow, deep)) if part == "test" else None
        source = "" if better is None else "CIFAR-10, ResNet-20 8.75, 56 6.97, 110 6.43 % error"
        for text, difference, ours, theirs, published in (
            ("a plain network gets worse with depth", lost, plain_deep, plain_shallow, None),
            ("a residual network gets better with depth", gained, shallow_net, deep_net, better),
            (
                harm,
                f"({lost}) + ({gained})",
                plain_deep - plain_shallow,
                deep_net - shallow_net,
                None,
            ),
            (
                f"at {deep} layers shortcuts help",
                f"plain{deep} - resnet{deep}",
                plain_deep,
                deep_net,
                None,
            ),
        ):
            named = f"{part} error: {difference}"
            figure = paired(ours, theirs)
            claims.append(
                Claim(
                    text,
                    named,
                    figure,
                    published=published,
                    source="" if published is None else source,
                )
            )
    return claims
