r"""Fine-tune a trained classifier to other classes with few images: the lectures' recipes compared.

Claims: with few images, a linear classifier on a trained network's features beats a network that is
trained from scratch; so does fine-tuning.
Published: CS231n (Stanford, 2016) recommends by the size of the data and how alike the tasks are,
without figures. Yosinski et al. (NIPS 2014): transferred and fine-tuned features beat fresh ones,
by 1.6 points on ImageNet's halves.
Measured: see results/finetune-*.json (written by this module).

    python -m experiments.finetune
    python -m experiments.finetune --dataset folder --data-dir hymenoptera_data --image-size 227 \
        --weights squeezenet1_0.npz --head-options head_activation=identity \
        --recipes linear scratch recommended --copies 4 --crop 16 --flip --batch-size 32 \
        --epochs 20 --learning-rate 1e-3 --scratch-learning-rate 0.01 --scratch-epochs 4
    python -m experiments.finetune --dataset folder --data-dir DIR --image-size 224 \
        --weights resnet50-0676ba61.pth --batch-size 128 --epochs 60 --crop 28 --flip \
        --learning-rate 0.01 --scratch-epochs 200 --scratch-learning-rate 0.1 --validation 0.1
    python -m experiments.finetune --recipes rules \
        --rules "stem/.*=0" "stage[12]/.*=0.1" "(stage3|head)/.*=1" --reinitialise stage3 head
    python -m experiments.finetune --resume runs/finetune-digits-1
    python -m experiments.evaluate runs/finetune-digits-1/networks/linear

The networks of every recipe are left in networks/RECIPE, a finished run of its own: evaluate,
export, features, ensemble --of, distill and --from of finetune and probe read it like any other.

Without --from and --weights a network is trained first, on some classes of the data set, and tuned
to the others. It is one network, with which all seeds begin: they differ in the fresh head, the
order of the images and the augmentation, and the intervals are for these. The test part is looked
at once, at the end of each training; a run chooses nothing by it, and a network that was trained on
images of it is refused. A recipe that diverges is not compared. SqueezeNet's rate is among the best
in cross-validation on the training images; it, the head's activation and the augmentation had been
tried on the test part before, so its figure is not blind. Its four epochs from scratch are few:
they cost more time than all else there.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
