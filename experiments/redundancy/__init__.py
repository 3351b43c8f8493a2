r"""How small a student, or how sparse a network, keeps the accuracy (Frankle & Carbin, ICLR 2019).

Claims: of a trained network most weights can be pruned, the smallest ones first (Han et al.,
NeurIPS 2015); the rest learns as well from its first weights, but not from fresh ones ("winning
tickets"); a small network learns more from the large one than from labels alone (Hinton et al.,
2015).
Published: Lenet-300-100 on MNIST, rewound: accuracy rises down to 21 % of the weights, is that of
the dense network again at 3.6 %; reinitialised, it falls from the first round on (figure 3).
Measured: see results/redundancy-*.json (written by this module).

    python -m experiments.redundancy
    python -m experiments.redundancy --dataset mnist --data-dir DIR --batch-size 60 --epochs 50 \
        --model-options "widths=(300,100)" --init glorot --learning-rate 1.2e-3 \
        --schedule constant --rate 0.2 --rounds 16 \
        --small "widths=(100,30)" "widths=(30,10)" "widths=(10,5)"
    python -m experiments.redundancy --dataset cifar10 --data-dir DIR --model resnet20 \
        --model-options --scope global --head-factor 0 --rate 0.2 --rounds 15 --batch-size 128 \
        --optimizer nesterov --learning-rate 0.03 --warmup-epochs 10 --epochs 80 --crop 4 --flip \
        --small width=8 width=4 width=2
    python -m experiments.redundancy --resume runs/redundancy-digits-1

Every training, of a round or of a small network, has the same epochs, schedule and order of the
images; so a network after three rounds of pruning has cost four trainings. The dense network
trained for as long as all rounds together is there to compare with. The teacher of all students is
the first seed's dense network, whose own variance is not in their intervals. The test part is
looked at once, at the end of each training; nothing is chosen by it.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
"""The command line."""
