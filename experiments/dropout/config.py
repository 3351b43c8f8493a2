"""The settings of ``experiments.dropout``."""

import dataclasses

from cnnlab.studies.settings import Training


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train a perceptron with dropout at several rates, and compare them with the first."""

    rates: tuple[float, ...] = (0.0, 0.2, 0.5)
    """Probabilities with which a hidden unit is dropped."""
    model: str = "mlp"
    learning_rate: float = 0.05
    seeds: int = 10
