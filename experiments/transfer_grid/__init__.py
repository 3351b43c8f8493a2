r"""Little or a lot of data, similar or different: which recipe of transfer wins (CS231n's 2 x 2).

Claim (Stanford's CS231n, lecture on transfer learning), for a network trained on a source:

    | target's data | similar to the source | different |
    | little | a linear classifier on top | a linear classifier on an earlier stage ("trouble") |
    | a lot | fine-tune a few stages | fine-tune a larger number of stages |

Published: no figures, a rule of thumb.
Measured: see results/transfer_grid-*.json (written by this module).

    python -m experiments.transfer_grid
    python -m experiments.transfer_grid --dataset fashion_mnist --data-dir DIR --other mnist \
        --source 0 3 4 5 8 --few 10 --many 400 --validation 2000 --source-epochs 3 --epochs 8 \
        --batch-size 32 --learning-rates 1e-3 5e-3 2e-2
    python -m experiments.transfer_grid --dataset cifar100 --data-dir DIR --few 5 --many None \
        --model resnet20 --crop 4 --flip --source-epochs 100 --epochs 50 --batch-size 128 \
        --optimizer nesterov --weight-decay 5e-4 --learning-rate 0.1 \
        --learning-rates 0.01 0.03 0.1 --recipes linear early top all layerwise gradual scratch \
        --early stage1 stage2
    python -m experiments.transfer_grid --resume runs/transfer-grid-digits-1

The source is one half of the classes of the data set, the similar target the other half. The
different target is another data set ("other"); by default "shuffled", the similar target with the
pixels of every image in one random order: the same classes and as many images, but without the
neighbourhoods that the source's features live on.

Each recipe is trained in each cell at each of the same rates; the mean accuracy over the seeds on
the validation part chooses the rate and, for a classifier on an earlier stage, the stage. That part
is as large for little data as for a lot: who has little has less to choose by. All trainings have
as many updates: little data are shown the more often. Every seed draws little data of its own from
a lot, the same for all recipes. The source's network is the same for all: what it is by chance is
not in the intervals. The test part is looked at once, by the networks that were chosen.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
