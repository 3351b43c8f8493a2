r"""Plain against residual networks, shallow against deep (He et al., CVPR 2016, section 4.2).

Claim: a plain network gets worse with depth, on the training images too, so it is no overfitting;
with shortcuts around every two layers the deeper network is the better one.
Published: CIFAR-10, test error of ResNet-20/32/44/56/110 8.75/7.51/7.17/6.97/6.43 %; plain nets of
20 to 56 layers get worse with depth on both parts (figures 1 and 6, table 6).
Measured: see results/depth-*.json (written by this module).

    python -m experiments.depth
    python -m experiments.depth --dataset cifar10 --data-dir DIR --width 16 --epochs 160 \
        --batch-size 128 --flip --crop 4
    python -m experiments.depth --resume runs/depth-digits-1

All networks have the same settings, and a seed gives them the same order of the images. The test
part is looked at after each epoch, to draw it; nothing is chosen by it. A network that diverges
counts as guessing. Each architecture's folder in the run directory is a run of experiments.train.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
