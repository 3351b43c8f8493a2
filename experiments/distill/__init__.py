r"""Distillation: students of a large network or an ensemble (Hinton, Vinyals & Dean, 2015).

Claim: a small network distilled from a large one, or from an ensemble, makes fewer errors than one
trained on labels, and recognises classes that its transfer set lacked, once their bias is
corrected.
Published: Hinton, Vinyals & Dean, arXiv 1503.02531, 2015, section 3, MNIST: teacher 67 errors,
student alone 146, distilled (T = 20) 74. Without 3s: 206 errors, 133 of them on the 1,010 3s; with
the bias of class 3 raised by 3.5: 109, 14 on 3s.
Measured: see docs/results/ and results/distill-*.json (written by this module).

    python -m experiments.distill
    python -m experiments.distill --without 3 --temperatures 1 4 20
    python -m experiments.distill --matching logits --unlabelled
    python -m experiments.distill --teacher-run runs/digits-resnet8-1
    python -m experiments.distill --resume runs/distill-digits-1

Hinton's students in some ten minutes of two cores, cut in length, with a convolutional teacher
that costs less than his; only the teacher sees images that were moved:

    python -m experiments.distill --dataset mnist --data-dir DIR --batch-size 128 \
        --teachers 1 --teacher-model lenet5 --teacher-crop 2 --teacher-epochs 20 \
        --teacher-learning-rate 0.05 --model-options "widths=(800,800)" --epochs 10 \
        --temperatures 20 --without 3

and with a teacher such as his, but for the max-norm: --teacher-model mlp
--teacher-model-options "widths=(1200,1200)" dropout=0.5 (and more epochs than that).

Students of a kind are trained in one program, for the same epochs and from the same seeds as those
of other kinds. They have one teacher, whose own variance is not in the intervals: the claims are
about its students. Nothing is chosen by the test part, except the bias that is named after it.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
"""The command line."""
