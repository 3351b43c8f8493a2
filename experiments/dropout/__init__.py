"""Dropout at several rates, against none (Srivastava et al., JMLR 2014).

Claim: a network that is trained with dropout has a lower test error than one without.
Published: MNIST, error 1.60 -> 1.25 % (Srivastava et al., table 2).
Measured: see results/dropout-*.json (written by this module).

    python -m experiments.dropout --rates 0 0.1 0.3 0.5 0.7 --seeds 10
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
