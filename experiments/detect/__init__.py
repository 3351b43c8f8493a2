r"""A classifier becomes a detector: regions of scenes classified and boxed (Girshick, ICCV 2015).

Claims: a detector that begins with a classifier's convolutions and trains them on is better than
one that keeps them as they were, and than one from scratch; correcting the boxes of the regions
makes it better still, and training for it does so even where no box is corrected.
Published: Fast R-CNN with VGG16, PASCAL VOC 2007, mean average precision 66.9 with the
convolutions from conv3_1 on fine-tuned, 61.4 with all frozen (table 5); without box regression
62.6, trained with it but not applied 63.4 (table 6).
Measured: see results/detect-*.json (written by this module).

    python -m experiments.detect
    python -m experiments.detect --dataset mnist --data-dir DIR --scene-size 64 --scenes 400 \
        --test-scenes 300 --cuts 3000 --up-to stage3 --backgrounds photographs --aspects 0.8 0.4 \
        --epochs 15 --classifier-epochs 6
    python -m experiments.detect --dataset mnist --data-dir DIR --scene-size 128 --scenes 10000 \
        --test-scenes 2000 --cuts 60000 --model resnet20 --model-options --up-to stage3 \
        --backgrounds photographs --partly stem stage1 --heights 0.2 0.28 0.4 --scale 0.18 0.45 \
        --aspects 0.8 0.4 --digits 2 6 --hidden 256 --batch-size 32 --epochs 40 --seeds 5
    python -m experiments.detect --resume runs/detect-digits-1

Scenes and cut-outs are composed of real digits, see cnnlab.data.scenes; digits and backgrounds of
the training part and of the test part are kept apart. Regions are the same windows in every scene.
Each seed has a classifier of its own, trained on cut-outs, whose front the detectors of this seed
begin with. All have the same settings, and are normalised alike, by the cut-outs. The test scenes
are looked at once, at the end of each training; nothing is chosen by them.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
