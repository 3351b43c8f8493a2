r"""Snapshot ensembles: one training run, M networks (Huang et al., ICLR 2017).

Claim: at the same budget, the M snapshots of one run with a cyclic rate beat the single network;
``experiments.ensemble_study`` compares them with snapshots without cycles.
Published: CIFAR-100, ResNet-110, error of the single network 28.02, of snapshots without cycles
26.97, of as many fresh starts 26.30, of snapshots 24.19 (M = 5, rate 0.2).
Measured: see docs/results/ensemble_study-*.md, beside other ways to spend the budget.

    python -m experiments.snapshot
    python -m experiments.snapshot --cycles 3 --growth 2          # SGDR's growing periods
    python -m experiments.snapshot --kind none                    # the control without cycles
    python -m experiments.snapshot --kind reinitialised           # each cycle from a fresh start
    python -m experiments.snapshot --kind triangular              # fast geometric ensembling
    python -m experiments.snapshot --dataset cifar100 --data-dir DIR --model resnet110 \
        --epochs 300 --learning-rate 0.2 --flip --crop 4 --weight-decay 1e-4
    python -m experiments.snapshot --resume runs/snapshot-digits-1

``--seeds R`` repeats all of it R times, in one program. The single network is trained for as many
epochs as the run with snapshots, by the usual schedule (``--schedule``). Nothing is chosen by the
test part.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
