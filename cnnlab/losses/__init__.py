"""Loss functions: one value for each example; the caller reduces and masks.

``losses.softmax_cross_entropy``, ``losses.distillation`` … are for classifiers, ``losses.dense`` is
for a class at every pixel, ``losses.reconstruction`` for autoencoders.
"""

from cnnlab.losses import dense, reconstruction
from cnnlab.losses.classification import (
    TargetLoss,
    distillation,
    logits_matching,
    softmax_cross_entropy,
)

__all__ = [
    "TargetLoss",
    "dense",
    "distillation",
    "logits_matching",
    "reconstruction",
    "softmax_cross_entropy",
]
