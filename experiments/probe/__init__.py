r"""Linear probes of every stage of a network (Alain & Bengio, ICLR workshop 2017).

Claims: the deeper the stage, the better a linear classifier on its features; those of a trained
network are better than those of random weights; and the nearest neighbours of an image in features
are of its class more often than those in pixels (Krizhevsky et al., NIPS 2012, figure 4).
Published: of Inception v3 and ResNet-50 on ImageNet, the probes' accuracy rises monotonically with
depth.
Measured: see results/probe-*.json (written by this module).

    python -m experiments.probe
    python -m experiments.probe --from runs/digits-resnet8-1
    python -m experiments.probe --weights resnet20-12fca82f.th --dataset cifar10 \
        --data-dir DIR --examples 5000 --seeds 5
    python -m experiments.probe --dataset cifar10 --data-dir DIR --model resnet56 --epochs 160 \
        --batch-size 128 --flip --crop 4 --seeds 5
    python -m experiments.probe --resume runs/probe-digits-1

The control is the same network with fresh weights: those that the trained one began from, or, of a
network of a run or a file, some seeds. It has seen no image (unless by an initialisation that looks
at some, such as LSUV): its BatchNorm has a mean of 0 and a variance of 1, as it is initialised.
Images at a stage are averaged over 4 x 4 cells. Probes learn from training images that are not
augmented, their penalty is chosen on validation images; neighbours are searched among the training
images. The head's features are its logits. (Weights from a file may have been trained on the
validation images as well: the penalty is then chosen on images that they know.)
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
