r"""Deep networks with and without unsupervised pretraining (Erhan et al., JMLR 2010).

Claims: a deep network of sigmoids learns more from few labels if its layers were first trained
without labels, layer by layer; the gain shrinks with more labels, and pretrained networks vary less
from seed to seed (here over draws of labelled images, too, which differ between seeds: only with
``--same-images`` is it the seed alone).
Published: MNIST with all labels: after fine-tuning, deep networks with random initial weights have
a higher test error and more outliers than pretrained ones, the more so the deeper; with ten million
examples seen once the gain is still there, so that it is no regularisation alone. Vincent et al.
(JMLR 2010): denoising autoencoders are better than plain ones, about level with Boltzmann machines.
Measured: see results/pretrain-*.json (written by this module).

    python -m experiments.pretrain
    python -m experiments.pretrain --dataset mnist --data-dir DIR --labels 10 50 100 500 \
        --model-options "widths=(400,400,400)" activation=sigmoid --learning-rate 2e-3 \
        --pretrain-epochs 5 --pretrain-batch-size 100 --autoencoder-rate 1e-3
    python -m experiments.pretrain --dataset mnist --data-dir DIR --seeds 10 --epochs 40 \
        --labels 10 50 100 500 1000 5000 --updates 500 --batch-size 100 --learning-rate 1e-3 \
        --model-options "widths=(1000,1000,1000)" activation=sigmoid --pretrain-epochs 50 \
        --methods none relu autoencoder denoising rbm --pretrain-batch-size 100 \
        --autoencoder-rate 1e-3
    python -m experiments.pretrain --resume runs/pretrain-digits-1

All training images are there to pretrain on; of these, each seed draws its own labelled ones, the
same for every method, and fewer are a part of more. Fine-tuning takes the same updates, rate and
order for every method; few images are gone through several times an epoch. Nothing is chosen by the
test part, and there is no validation part: with ten labels a class nobody has one. The rates are
the same for all: what each method could reach with its own is not asked. ``relu`` is a network of
rectifiers without pretraining, by which the method went out of use (Glorot et al., AISTATS 2011).
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
