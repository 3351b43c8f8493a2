"""The scores of networks on a part of a data set, with a confusion matrix and calibration."""

import dataclasses
import hashlib
import pathlib
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.special import log_softmax

from cnnlab.data import Dataset
from cnnlab.ensemble import combine
from cnnlab.ensemble.predictions import dropout_logits, view_logits
from cnnlab.files import write_json
from cnnlab.models import weights
from cnnlab.report import calibration, drawing, figures
from cnnlab.report.statistics import over_seeds
from cnnlab.run_directory import FIGURES
from cnnlab.studies import trained, weights_files
from cnnlab.studies.class_names import in_order_of
from cnnlab.studies.preparation import Preparation
from cnnlab.studies.settings import other_data_name
from cnnlab.studies.trained import TrainedNetworks
from cnnlab.train import Recipe, TrainState, predict, recalibrate, states_of
from cnnlab.train.environment import environment
from cnnlab.train.run import numbered
from cnnlab.train.state import state_shapes

from ..cli import host
from .config import Config, check
from .summary import summary_lines
from .views import parse_views


class Subject(NamedTuple):
    """The networks that are evaluated, on what, and where the result is written.

    For weights from elsewhere the directory gets a number once there is something to write.
    """

    networks: TrainedNetworks
    dataset: Dataset
    directory: pathlib.Path
    title: str
    about: dict[str, Any]


def run(config: Config) -> dict[str, Any]:
    """Evaluates networks, prints a table and writes figures and a JSON file into their directory.

    With several seeds, scores are means over them with standard errors; the confusion matrix is
    the sum, and the reliability diagram that of all their predictions. Weights from elsewhere get a
    numbered directory of their own.

    Over views or masks of dropout the scores of single passes are shown as well, with a warning
    where averaging makes them worse.

    Returns:
      ``accuracy``, ``loss``, ``ece`` and ``per_class`` (name -> accuracy), as ``over_seeds`` gives
      them, with ``step``, ``dataset``, ``part`` and ``examples``; ``pooled_ece``, the calibration
      error of all networks' predictions together, which the reliability diagram shows; over views
      or masks ``plain``, the first three without them.

    Raises:
      ResumeError: if there is no run.
      ValueError: if the data set does not fit the network, or the weights are another network's.
    """
    check(config)
    here = host()
    if config.run is not None and (note := trained.unfinished_note(config.run)):
        here.say(note)
    subject = _load_weights(config) if config.run is None else _load_run(config, config.run)
    if subject.networks.report is not None:
        here.say(str(subject.networks.report))
    dataset, name = subject.dataset, _file_name(config, subject.dataset)
    logits = predict_logits(config, subject.networks, dataset)
    probabilities = np.asarray(jax.nn.softmax(logits, axis=-1))
    labels, classes = dataset.labels, dataset.num_classes
    counts = [calibration.confusion(labels, each.argmax(axis=-1), classes) for each in logits]
    together = calibration.expected_calibration_error(
        probabilities.reshape(-1, classes), np.tile(labels, len(logits)), config.bins
    )
    by_class = np.stack([calibration.per_class_accuracy(each) for each in counts], axis=1)
    result = {
        "experiment": "evaluate",
        "dataset": dataset.name,
        "part": config.part,
        "examples": len(dataset),
        "step": subject.networks.step,
        **subject.about,
        "environment": environment(here.project, here.xla_flags),
        **_scores(logits, labels, config.bins),
        "pooled_ece": together.ece,
        **_without_averaging(config, subject.networks, dataset),
        "per_class": {
            each: over_seeds(values)
            for each, values in zip(dataset.class_names, by_class, strict=True)
        },
    }
    here.say("\n".join(summary_lines(result)))  # before anything is written: it may fail
    drawn = {
        "confusion": figures.confusion_matrix(
            np.sum(counts, axis=0), dataset.class_names, title=subject.title
        ),
        "reliability": figures.reliability(
            together,
            title=subject.title,
            pooled=f"{len(logits)} networks" if len(logits) > 1 else "",
        ),
    }
    directory = subject.directory
    if config.run is None:
        directory = numbered(config.runs, directory.name)
    folder = directory / FIGURES
    paths = [drawing.save(each, folder / f"{kind}-{name}.png") for kind, each in drawn.items()]
    result["figures"] = [str(path) for path in paths]
    write_json(directory / f"evaluate-{name}.json", result)
    here.say("\n".join(result["figures"]))
    return result


def predict_logits(config: Config, networks: TrainedNetworks, dataset: Dataset) -> np.ndarray:
    """Logits [M, N, K], or the logarithm of the mean probabilities over views and masks."""
    subject = (networks.recipe, networks.states, dataset)
    if config.views:
        logits = view_logits(*subject, parse_views(config.views), batch_size=config.batch_size)
    elif config.dropout_samples:
        logits = dropout_logits(*subject, config.dropout_samples, batch_size=config.batch_size)
    else:
        return predict(*subject, batch_size=config.batch_size)
    return np.log(np.maximum([combine(each) for each in logits], np.finfo(np.float64).tiny))


def _load_run(config: Config, directory: pathlib.Path) -> Subject:
    own = trained.run_config(directory)
    data = numbers = None
    if config.dataset is not None:
        data = trained.other_data(directory, config.dataset, config.data_dir)
        if config.match_classes == "number":
            numbers = trained.class_numbers(directory)
        if config.part != "validation":
            data = dataclasses.replace(data, validation=None)
    networks, dataset = trained.load_run_on(
        directory,
        config.part,
        data,
        class_numbers=numbers,
        data_dir=config.data_dir,
        best=config.best,
    )
    assert networks.splits is not None
    train = networks.splits.train
    if config.match_classes == "name":
        dataset = in_order_of(
            dataset,
            train.class_names,
            f"the network of {directory.name}",
            advice=" If only their names differ: --match-classes number.",
        )
    elif dataset.num_classes != train.num_classes:
        raise ValueError(
            f"the network tells {train.num_classes} classes apart, {dataset.name} has "
            f"{dataset.num_classes}."
        )
    about = {"run": directory.name, "model": own.model}
    at = f"step {networks.step:,}"
    if config.weights is not None:
        weights_files.check_same_network(config.weights, networks, dataset)
        states, report = _read_weights(config.weights, networks.recipe, train)
        networks = dataclasses.replace(networks, states=states, step=None, report=report)
        about["weights"] = at = config.weights.name
    if config.recalibrate:
        states = recalibrate(networks.recipe, networks.states, train, batch_size=config.batch_size)
        networks = dataclasses.replace(networks, states=states)
    title = f"{own.model} on {dataset.name}, {config.part} part, {at}"
    if networks.members > 1:
        title += f", {networks.members} seeds together"
    return Subject(networks, dataset, directory.resolve(), title, about)


def _read_weights(
    path: pathlib.Path, recipe: Recipe, train: Dataset
) -> tuple[TrainState, weights.Report]:
    """The states [1, ...] of the recipe's network with the weights of a file."""
    shapes = state_shapes(recipe, train.image_shape)
    like = {"params": shapes.params, **shapes.model_state}
    variables, report = weights.load(path, like)
    return states_of(recipe, variables), report


def _load_weights(config: Config) -> Subject:
    assert config.weights is not None
    data = (config.part, config.dataset, config.data_dir, config.image_size)
    networks, dataset = weights_files.load_weights_on(config, *data, same_classes=True)
    report = networks.report
    assert report is not None
    directory = config.runs / f"evaluate-{dataset.name}-{networks.model}"
    about = {
        "weights": config.weights.name,
        "sha256": hashlib.sha256(config.weights.read_bytes()).hexdigest(),
        "mapping": report.mapping,
        "loaded": f"{report.loaded} of {report.total}",
        "model": networks.model,
        "model_options": networks.model_options,
        "normalization": str(Preparation(networks.normalization, networks.statistics)),
    }
    title = f"{networks.model} on {dataset.name}, {config.part} part"
    return Subject(networks, dataset, directory, title, about)


def _file_name(config: Config, dataset: Dataset) -> str:
    """The name of this evaluation's files, without their ending."""
    data_name = dataset.name
    if config.run is not None and config.dataset is not None:
        data_name = other_data_name(config.dataset, config.data_dir)
    name = f"{config.part}-{data_name}{'-best' if config.best else ''}"
    name += "-recalibrated" if config.recalibrate else ""
    if config.run is not None and config.weights is not None:
        name += f"-{config.weights.stem}"
    if config.views or config.dropout_samples:
        kinds = config.views or (f"dropout{config.dropout_samples}",)
        name += "-" + "-".join(kinds).replace(":", "").replace(",", "+")
    return name


def _without_averaging(
    config: Config, networks: TrainedNetworks, dataset: Dataset
) -> dict[str, Any]:
    """The ``plain`` scores of single passes, beside those over views or masks of dropout."""
    if not (config.views or config.dropout_samples):
        return {}
    plain = predict(networks.recipe, networks.states, dataset, batch_size=config.batch_size)
    return {"plain": _scores(plain, dataset.labels, config.bins)}


def _scores(logits: np.ndarray, labels: np.ndarray, bins: int) -> dict[str, Any]:
    """Accuracy, loss and calibration error over the members."""
    probabilities = np.asarray(jax.nn.softmax(logits, axis=-1))
    at = np.arange(len(labels))
    losses = [-log_softmax(each, axis=-1)[at, labels].mean() for each in logits]
    errors = [
        calibration.expected_calibration_error(each, labels, bins).ece for each in probabilities
    ]
    return {
        "accuracy": over_seeds([(each.argmax(axis=-1) == labels).mean() for each in logits]),
        "loss": over_seeds(losses),
        "ece": over_seeds(errors),
    }
