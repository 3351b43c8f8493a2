"""Every way from one budget to a prediction: one network, snapshots, averages, true ensembles.

Claim: at the same budget the snapshots of a cyclic run beat one network, snapshots without cycles
and M short trainings; averaged weights beat one network; M whole budgets beat them all.
Published: Huang et al. 2017, CIFAR-10 / CIFAR-100, ResNet-110, error: single 5.52 / 28.02, no cycle
5.49 / 26.97, one cycle 7.35 / 26.30, snapshots 5.32 / 24.19; Izmailov et al. 2018, CIFAR-10 /
CIFAR-100, VGG-16, accuracy: 93.25 -> 93.59 / 72.55 -> 73.91 by SWA.
Measured: docs/results/, written from results/ensemble_study-*.json.

    python -m experiments.ensemble_study                               # digits, under two minutes
    python -m experiments.ensemble_study --size hour --dataset fashion_mnist --data-dir DIR
    python -m experiments.ensemble_study --size full --dataset cifar10 --data-dir DIR   # for a GPU
    python -m experiments.ensemble_study --resume runs/ensemble_study-digits-1

A repetition has its own seeds for all methods; ``--seeds R`` of them train in the same programs.
Nothing is chosen by the test part: rates and decays are those of the papers.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
