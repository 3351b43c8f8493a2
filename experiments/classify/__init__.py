r"""Classify photographs with a run, or weights from elsewhere: the most probable classes of each.

    python -m experiments.classify runs/digits-resnet8-1 seven.png two.png
    python -m experiments.classify photo.jpg --weights exported.safetensors
    python -m experiments.classify *.jpg --weights resnet50-0676ba61.pth
    python -m experiments.classify photo.jpg --weights FILE.pth --model resnet50 \
        --weights-normalization 0.5,0.5,0.5/0.5,0.5,0.5 --class-names names.txt

A run, and a file that experiments.export wrote, say themselves how images are prepared and what
their classes are, and a published file that is recognised (torchvision's for ImageNet, SqueezeNet
of its authors, the residual nets for CIFAR-10 of akamaster's repository) is known; of any other,
say it by options.
Options that contradict such a file are refused.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
