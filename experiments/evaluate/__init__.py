r"""Evaluate a run, or weights from elsewhere, on a data set: by class, confusion, calibration.

    python -m experiments.evaluate runs/digits-resnet8-1
    python -m experiments.evaluate RUN --dataset npz --data-dir other.npz
    python -m experiments.evaluate RUN --part validation --best
    python -m experiments.evaluate RUN --views mirror           # photographs, trained with --flip
    python -m experiments.evaluate RUN --views mirror shifts:2  # … and --crop: ten views
    python -m experiments.evaluate RUN --dropout-samples 20     # averaged over dropout masks
    python -m experiments.evaluate RUN --weights RUN/average-all.safetensors
    python -m experiments.evaluate --weights exported.safetensors  # of experiments.export
    python -m experiments.evaluate --weights resnet20-12fca82f.th --dataset cifar10 --data-dir DIR
    python -m experiments.evaluate --weights FILE.pth --model vgg16 \
        --weights-normalization torchvision --dataset folder --data-dir DIR --image-size 224

Of a run it is the test part of its own data, unless --part or --dataset says another.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
