"""Training: one state, pure steps, iterators of epochs, checkpoints.

recipe = train.Recipe(network, optim.sgd(0.1), augment.normalize(mean, std))
for epoch in train.fit(recipe, splits.train, splits.validation, epochs=10, seeds=(0, 1, 2)):
    print(epoch.epoch, epoch.metrics)
"""

from cnnlab.train.evaluate import evaluate, predict
from cnnlab.train.fit import DivergedError, Position, fit, member, steps
from cnnlab.train.metrics import Sums, means
from cnnlab.train.options import FitOptions, Watched
from cnnlab.train.program import check_fits, init_examples
from cnnlab.train.recalibrate import recalibrate
from cnnlab.train.state import Average, Recipe, TrainState, init_state, restarted, states_of
from cnnlab.train.step import eval_step, predict_step, train_step

__all__ = [
    "Average",
    "DivergedError",
    "FitOptions",
    "Position",
    "Recipe",
    "Sums",
    "TrainState",
    "Watched",
    "check_fits",
    "eval_step",
    "evaluate",
    "fit",
    "init_examples",
    "init_state",
    "means",
    "member",
    "predict",
    "predict_step",
    "recalibrate",
    "restarted",
    "states_of",
    "steps",
    "train_step",
]
