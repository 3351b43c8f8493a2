"""The settings of ``experiments.train``: those that every training has."""

import dataclasses

from cnnlab.studies.settings import Training


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train one network, or several seeds of it at once."""
