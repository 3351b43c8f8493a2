r"""Initialisations compared: signals and gradients layer by layer, and how fast networks learn.

Claim: with kernels too small (0.01) the activations of a deep net die out from layer to layer, and
with them all gradients; variances after Glorot (tanh) and He (ReLU) keep both alive, and such nets
learn; equal weights stay equal for ever.
Published: Stanford's CS231n, lecture on training, 10 tanh layers of 500 units on 1000 x 500 unit
Gaussian inputs: standard deviations 0.213, 0.0476, 0.0106, 0.0024 ... 0 at 0.01; 0.628, 0.486,
0.408 ... 0.228 after Glorot; with ReLU, after He, 0.81 to 0.89.
Measured: see result.json and figures/ in the run directory.

    python -m experiments.init_study
    python -m experiments.init_study --no-lecture --model lenet5 --inits gaussian:std=0.01 he lsuv
    python -m experiments.init_study --no-lecture --model resnet110 --model-options norm=none \
        width=4 --inits he fixup
    python -m experiments.init_study --resume runs/init_study-digits-mlp-1
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
