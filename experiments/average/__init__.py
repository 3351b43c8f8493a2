"""One network out of several: a mean of a run's checkpoints, or a soup of several runs.

Claim: the mean of the weights that one training passes through, or of several trainings that began
at the same weights, is better than each of them, at the cost of one; with batch normalisation only
once its statistics are computed again.
Published: CIFAR-100, SWA at equal budget, VGG-16 72.55 -> 73.91 %, ResNet-164 78.49 -> 79.77 %
(Izmailov et al., UAI 2018, table 1); ImageNet, ViT-G, the best of the fine-tuned networks 90.78 %,
their greedy soup 90.94 % (Wortsman et al., ICML 2022, table 1).
Measured: see average-NAME.json in the run directory (written by this module).

    python -m experiments.train --schedule swa --keep-every 1
    python -m experiments.average runs/digits-resnet8-1 --last 5
    python -m experiments.average runs/digits-resnet8-1 --from-epoch 20 --how greedy
    python -m experiments.average RUN --steps 100 200 --missing skip
    python -m experiments.average RUN-1 RUN-2 RUN-3 --how greedy --best

Of one run its checkpoints are averaged, for each seed by itself. Of several runs (of one network on
the same data) the first seed of each makes one soup, the second of each another one, and so on: it
is one seed that began at one set of weights; the files are in the directory of the first run.
Weights themselves are averaged and compared: a run's moving average is left out.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
"""The command line."""
