"""Ensembles of independent networks: M trainings that differ in something, combined.

Claim: the ensemble beats one of its members, and one network that was trained for as many epochs
as all members together.
Published: CIFAR-10, WRN-28-10, four networks against one of them: accuracy 96.0 -> 96.6, NLL 0.159
-> 0.114; ImageNet top-5 error 18.2 -> 16.4 with five AlexNets (Krizhevsky et al., NIPS 2012).
Measured: see result.json and figures/ in the run directory, and docs/results/.

    python -m experiments.ensemble                                 # five, from different seeds
    python -m experiments.ensemble --differ bootstrap              # bagging
    python -m experiments.ensemble --differ hyperparameters --weight-decays 0 1e-4 5e-4 1e-3 5e-3
    python -m experiments.ensemble --differ architecture --models resnet8 mlp linear
    python -m experiments.ensemble --of runs/digits-resnet8-1 runs/digits-mlp-1
    python -m experiments.ensemble --resume runs/ensemble-digits-1

Members of one architecture train in one program, spread over the devices. ``--seeds R`` repeats all
of it R times. Weights of members are chosen on the validation part; nothing is chosen by the test
part.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
