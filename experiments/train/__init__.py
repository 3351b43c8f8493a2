"""Train one network, or several seeds of it at once, and report what it does on the test part.

Claim: none; this is the baseline that the other experiments are compared with.
Measured: see result.json and figures/curves.png in the run directory.

    python -m experiments.train --seeds 5
    python -m experiments.train --dataset fashion_mnist --data-dir DIR --flip --crop 2
    python -m experiments.train --resume runs/digits-resnet8-1
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
