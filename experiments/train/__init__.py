"""Train one network, or several seeds of it at once, and report what it does on the test part.

Claim: none; this is the baseline that the other experiments are compared with.
Measured: see result.json and figures/curves.png in the run directory.

    python -m experiments.train --seeds 5
    python -m experiments.train --dataset fashion_mnist --data-dir DIR --flip --crop 2
    python -m experiments.train --resume runs/digits-resnet8-1
    python -m experiments.train --resume RUN --epochs 80       # further, with --schedule constant
    python -m experiments.train --config RUN/config.json --seed 5

``--config`` makes a new run with the settings of another one, but for its place; other options
change something in them. With ``--resume``, more epochs than before are possible where the first
ones are the same either way: the result is to the bit that of a run which had them from the start.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
