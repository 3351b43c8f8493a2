"""The claims of the study: which method should be better than which, and what was published."""

from collections.abc import Mapping
from typing import NamedTuple

from cnnlab.studies.methods import Comparison


class _Published(NamedTuple):
    network: str
    errors: Mapping[str, tuple[float, float]]  # in %, on CIFAR-10 and CIFAR-100


_HUANG = _Published(
    "ResNet-110",
    {
        "step": (5.52, 28.02),
        "no cycles": (5.49, 26.97),
        "short": (7.35, 26.30),
        "same": (5.73, 25.55),
        "high": (5.32, 24.19),
    },
)
_SWA = _Published("VGG-16", {"step": (6.75, 27.45), "SWA": (6.41, 26.09)})
_WIDE = _Published("WRN-28-10 x 4", {"cosine": (4.0, 20.2), "whole": (3.4, 17.3)})
_RESTARTS = _Published(
    "WRN-28-10 with restarts, 3 runs or 1", {"high": (3.51, 17.75), "whole": (3.25, 16.64)}
)

_CLAIMS: tuple[tuple[str, str, str, _Published | None], ...] = (
    ("snapshots beat the single network by steps", "high", "step", _HUANG),
    ("snapshots beat the single network by a cosine", "high", "cosine", None),
    ("cycles of a high rate make better snapshots", "high", "no cycles", _HUANG),
    ("cycles of the same rate make better snapshots", "same", "no cycles", _HUANG),
    ("snapshots of a high rate beat as many fresh starts", "high", "short", _HUANG),
    ("snapshots of the same rate beat as many fresh starts", "same", "short", _HUANG),
    ("the higher rate makes better snapshots", "high", "same", _HUANG),
    ("SWA beats the single network by steps", "SWA", "step", _SWA),
    ("SWA beats the single network by a cosine", "SWA", "cosine", None),
    ("M whole budgets beat one network", "whole", "cosine", _WIDE),
    ("M whole budgets beat the snapshots of one", "whole", "high", _RESTARTS),
)


def study_comparisons(members: int, dataset: str) -> list[Comparison]:
    """The claims of the study.

    Args:
      members: M.
      dataset: on CIFAR-10 the published differences are those of CIFAR-10, else of CIFAR-100.
    """
    names = {
        "step": "single, step",
        "cosine": "single, cosine",
        "no cycles": f"{members} snapshots, no cycles",
        "same": f"{members} snapshots",
        "high": f"{members} snapshots, high rate",
        "short": f"ensemble of {members}, one budget",
        "whole": f"ensemble of {members}, {members} budgets",
        "SWA": "SWA",
    }
    column = 0 if dataset == "cifar10" else 1
    comparisons = []
    for text, better, worse, published in _CLAIMS:
        difference, source = None, "not compared"
        if published is not None:
            ours, theirs = published.errors[better], published.errors[worse]
            difference = round((theirs[column] - ours[column]) / 100, 4)
            errors = "{:g}/{:g} against {:g}/{:g}".format(*ours, *theirs)
            source = f"CIFAR-10/100, {published.network}, error {errors}"
        comparisons.append(Comparison(text, names[better], names[worse], difference, source))
    return comparisons
