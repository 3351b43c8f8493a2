r"""Write the features of a trained network's stages on a data set to an .npz file.

    python -m experiments.features runs/digits-resnet8-1
    python -m experiments.features RUN --stages stage2 stage3 --part train --pool none --to f.npz
    python -m experiments.features RUN --dataset npz --data-dir other.npz
    python -m experiments.features --weights resnet20-12fca82f.th --dataset cifar10 \
        --data-dir DIR --to features.npz
    python -m experiments.features --weights FILE.pth --model vgg16 \
        --weights-normalization torchvision --model-options num_classes=1000 \
        --dataset folder --data-dir DIR --image-size 224 --to features.npz

The file holds an array for each stage under its name, float32 [M, N, D] for M seeds and N images,
in their order; ``labels`` int32 [N] and ``class_names``. ``transfer.features.load_features`` and
``numpy.load`` read it.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
