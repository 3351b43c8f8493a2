r"""Autoencoders: images through a narrow code, without noise, with their colours.

Claims: through a code of as many numbers a deep autoencoder reconstructs images better than
principal components, which no linear one can do (Hinton and Salakhutdinov, Science 2006; Baldi and
Hornik, Neural Networks 1989). Trained to reconstruct clean images from noisy ones it denoises
(Vincent et al., ICML 2008), here better than filters whose width is chosen on validation. From grey
images it learns to guess colours, which by the squared error come out pale (Zhang et al., ECCV
2016).
Published: MNIST through 30 numbers, squared error of an image: autoencoder 3.00, logistic PCA 8.01,
PCA 13.87 (Hinton and Salakhutdinov, figure 2). Nothing at these sizes for noise and colours.
Measured: see results/autoencoder-*.json (written by this module).

    python -m experiments.autoencoder
    python -m experiments.autoencoder --model-options "widths=(16,)" activation=identity
    python -m experiments.autoencoder --task denoise
    python -m experiments.autoencoder --task colour --dataset photographs \
        --model conv_autoencoder --epochs 30 --batch-size 32 --flip
    python -m experiments.autoencoder --task denoise --dataset fashion_mnist --data-dir DIR \
        --model unet --fraction 0.2 --epochs 12
    python -m experiments.autoencoder --task colour --dataset cifar10 --data-dir DIR \
        --fraction 0.2 --epochs 10 --batch-size 32 --flip
    python -m experiments.autoencoder --task colour --dataset cifar10 --data-dir DIR \
        --model-options width=64 depth=3 norm=batch --batch-size 128 --epochs 60 --flip
    python -m experiments.autoencoder --dataset mnist --data-dir DIR --loss bernoulli \
        --model-options "widths=(1000,500,250,30)" --batch-size 128 --epochs 200
    python -m experiments.autoencoder --resume runs/autoencoder-plain-digits-1

The first four are quick, the next two take a CPU some ten minutes, the two after them want a GPU.
The second is linear: its training error must be that of the principal components, and no lower.
PSNR and SSIM are means over the images of the test part, which nothing is chosen by; the random
corruption is the same for all methods and seeds. Images are 0 to 1; the output of
every method is clipped to that. In colouring, grey values are known: every output is given the
right ones.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
