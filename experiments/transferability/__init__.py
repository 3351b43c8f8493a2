r"""How transferable the features of each stage are (Yosinski et al., NIPS 2014).

The classes are cut into halves A and B. A network learns each; then the first n stages of one are
kept, the others are initialised anew, and the whole network learns B:

    BnB   the first n stages of the network of B, frozen     BnB+  the same, fine-tuned
    AnB   the first n stages of the network of A, frozen     AnB+  the same, fine-tuned

Claims: AnB+ beats the network that learned B alone, and not for its longer training (BnB+ does
not); BnB dips in the middle, where stages that have learned together are parted, and BnB+ does not;
AnB is worse at the last stages, which are specific, and still worse where A and B differ more.
Published: ImageNet, 8 layers: AnB+ 1.6 points above the base on average over n; AnB at the last
layer 8 points below it for random halves, 25 for natural against man-made things.
Measured: see results/transferability-*.json (written by this module).

    python -m experiments.transferability
    python -m experiments.transferability --dataset cifar10 --data-dir DIR \
        --model-options norm=batch --per-class 300 --epochs 8 --batch-size 32
    python -m experiments.transferability --dataset cifar10 --data-dir DIR --per-class None \
        --model alexnet_small --model-options norm=batch --epochs 40 --batch-size 128 \
        --optimizer nesterov --learning-rate 0.03 --weight-decay 5e-4 --crop 4 --flip
    python -m experiments.transferability --resume runs/transferability-digits-1

Each half takes both parts, and an accuracy is the mean over both directions. A repetition is a
random cut, or another seed of the dissimilar one ("half"); random halves have the sizes of the
dissimilar ones. Every training has equally many images, the same epochs and schedule, and in a
repetition the same order of the images. Frozen stages keep their batch statistics, too. Heads have
an output for every class of the data set: those of the other half never occur in training, and are
left out of the predictions. The test part is evaluated once, at the end of each training; nothing
is chosen by it.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
