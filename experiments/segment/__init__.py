r"""A class for every pixel: U-Net on digits in scenes, its losses and its start (segmentation).

Claims: where most pixels are background, a loss that counts overlap (Dice) overlaps more than one
that counts pixels (cross-entropy), and so do both together; with few masks to learn from, an
encoder that was a classifier's is a better start than random weights.
Published: V-Net on PROMISE 2012, Dice 0.869 with the Dice loss and 0.739 with weighted
cross-entropy (Milletari et al., 3DV 2016, table 1); TernausNet, IoU 0.686 with an encoder from
ImageNet and 0.593 from scratch (Iglovikov & Shvets, 2018, section 4).
Measured: see results/segment-*.json (written by this module).

    python -m experiments.segment
    python -m experiments.segment --dataset mnist --data-dir DIR --backgrounds photographs \
        --classes 0 1 2 3 4 --scene-size 48 --scenes 600 --few 30 --single-scenes 1500 \
        --model-options width=8 depth=3 norm=batch
    python -m experiments.segment --dataset mnist --data-dir DIR --backgrounds photographs \
        --scene-size 128 --digits 1 6 --scale 0.15 0.4 --contrast 50 120 --scenes 10000 \
        --few 50 200 1000 10000 --test-scenes 2000 --single-scenes 20000 --classifier-epochs 30 \
        --epochs 40 --batch-size 32 --seeds 5 --model-options width=32 depth=4 norm=batch
    python -m experiments.segment --resume runs/segment-digits-1

Scenes are composed of real digits, see cnnlab.data.scenes: those to learn from of the training
part's, the test scenes of the test part's, and backgrounds are kept apart in the same way. A
classifier whose stages are the U-Net's encoder learns from labels alone, on scenes of one digit;
the U-Nets that begin with it are compared with those from scratch at every number of scenes with
masks, all with as many updates as with all scenes. "Frozen first" trains the decoder alone to begin
with: it is two trainings, together as long as one, each with an optimizer, a warm-up and a schedule
of its own, where the other starts have one of each. All are normalised alike, by the classifier's
scenes. The test scenes are looked at once, at the end of each training; nothing is chosen by them.
IoU is over all pixels of the test scenes, and intervals are over seeds of the networks: the scenes
are the same for all.
"""

from .. import cli
from .config import Config

__all__ = ["Config", "run"]

run = cli.lazy_run(__name__)
