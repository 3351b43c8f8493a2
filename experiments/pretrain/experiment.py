"""Layers are pretrained without labels, networks fine-tuned with few, and the methods compared."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnlab.data import Splits
from cnnlab.report import mosaics
from cnnlab.report.statistics import over_seeds
from cnnlab.run_directory import METRICS
from cnnlab.studies import build, study
from cnnlab.studies.study import Study
from cnnlab.train import evaluate
from cnnlab.train.records import read_metrics
from cnnlab.train.state import restarted
from cnnlab.transfer import stacking
from cnnlab.transfer.rbm import Machine

from ..cli import host
from . import figures
from .claims import compare
from .config import METHODS, PRETRAINED, Config, check
from .data import check_data, draw_labelled, repeat_images
from .layers import pretrain
from .summary import point_line, summary_lines


def run(config: Config) -> dict[str, Any]:
    """Pretrains, fine-tunes with each number of labels, and writes the run directory.

    Returns:
      The content of result.json: ``points`` (for each method and number of labels the accuracy on
      the test part and on the labelled images), ``pretraining`` (method -> seconds and the errors
      of reconstruction, a mean over seeds, [L][E]) and ``claims``.

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    with study.open(config, host()) as s:
        config = s.config
        check(config)
        splits = s.load_data(config)
        check_data(config, splits.train)
        s.begin(f"pretrain-{config.data_name}", splits.notes)
        points: list[dict[str, Any]] = []
        pretraining, kernels = {}, {}
        for method in config.methods:
            layers = None
            if method in PRETRAINED:
                stack, pretraining[method] = pretrain(s, method, splits.train)
                layers = stack.layers
                kernels[METHODS[method]] = layers[0].kernel[0]
            for count in sorted(config.labels):
                points.append(fine_tune(s, method, count, splits, layers))
                s.say(point_line(points[-1]))
        _draw(s, splits, points, kernels)
        seconds = sum(each["seconds"] for each in (*points, *pretraining.values()))
        about = {
            "model": " ".join((config.model, *config.model_options)),
            "points": points,
            "pretraining": pretraining,
            "seconds": round(seconds, 1),
        }
        return s.finish(about, compare(points, same_images=config.same_images), summary_lines)


def fine_tune(
    s: Study[Config], method: str, count: int, splits: Splits, layers: Sequence[Machine] | None
) -> dict[str, Any]:
    """Trains the networks of a method on ``count`` labelled images a class.

    Args:
      s: the study.
      method: of pretraining.
      count: of labelled images.
      splits: the data.
      layers: ``[M, ...]``, which the hidden layers begin with; None for fresh ones.

    Returns:
      Its part of ``points``: the accuracies on the test part and on the labelled images, as
      ``over_seeds`` gives them.
    """
    config, train = s.config.for_method(method), splits.train
    subsets = draw_labelled(train.labels, count, config.all_seeds, same=config.same_images)
    subsets = repeat_images(subsets, config.updates * config.batch_size)
    recipe = build.make_recipe(config, train, images=subsets.shape[1])
    initial = None
    if layers is not None:
        fresh = s.fresh_states(recipe, train)
        params = stacking.with_hidden_layers(fresh.params, layers)
        initial = restarted(recipe, params, fresh.model_state)
    options = dataclasses.replace(build.fit_options(config), subsets=subsets, initial=initial)
    s.say(f"\n{METHODS[method]}, {count} labels a class, {config.seeds} seeds:")
    name = f"{method}-{count}"
    trained = s.train(name, recipe, train, config=config, options=options)
    records = [each for each in read_metrics(s.directory / name / METRICS) if "epoch" in each]
    return {
        "method": method,
        "labels": count,
        "test_accuracy": over_seeds(evaluate(recipe, trained.states, splits.test)["accuracy"]),
        "train_accuracy": over_seeds(np.atleast_1d(records[-1]["train/accuracy"])),
        "seconds": round(trained.seconds, 1),
    }


def _draw(
    s: Study[Config],
    splits: Splits,
    points: Sequence[Mapping[str, Any]],
    kernels: Mapping[str, Any],
) -> None:
    config = s.config
    curves = {}
    for method in config.methods:
        own = [each for each in points if each["method"] == method]
        curves[METHODS[method]] = {
            "labels": [each["labels"] for each in own],
            "accuracy": [each["test_accuracy"]["values"] for each in own],
        }
    title = f"{' '.join(config.model_options)} on {config.data_name}"
    baseline = METHODS["none"] if "none" in config.methods else None
    s.save_figure("accuracy", lambda: figures.accuracy(curves, baseline=baseline, title=title))
    if kernels:
        shape = splits.train.image_shape
        units = {name: kernel.reshape(*shape, -1) for name, kernel in kernels.items()}
        s.save_figure("filters", lambda: mosaics.filters(units, most=49, title=title))
