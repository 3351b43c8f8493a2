"""What a run, or weights from elsewhere, do on a data set: accuracy by class, confusion, ECE.

python -m experiments.evaluate runs/digits-resnet8-1
python -m experiments.evaluate RUN --dataset npz --data-dir other.npz
python -m experiments.evaluate RUN --part validation --best
python -m experiments.evaluate RUN --views mirror shifts:2     # averaged over ten views of an image
python -m experiments.evaluate RUN --dropout-samples 20        # and over masks of dropout
python -m experiments.evaluate RUN --weights RUN/average-all.safetensors
python -m experiments.evaluate --weights FILE.th --model resnet20 --dataset cifar10
"""

import dataclasses
import hashlib
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import tyro

from experiments import launch
from experiments.config import Training, load_data
from experiments.finished import config_of, networks_of, recipe_of
from experiments.foreign import Foreign, load_foreign
from experiments.train import Config as TrainConfig

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.augment import Views
    from cnnlab.data import Dataset
    from cnnlab.train import Recipe, TrainState


@dataclasses.dataclass(frozen=True)
class Config(Foreign):
    """What to evaluate on what."""

    run: Annotated[pathlib.Path | None, tyro.conf.Positional] = None
    """The run directory; or none, and --weights; or both: its network with these weights."""
    dataset: str | None = None
    """Another data set of the same classes and image shape; the run's own by default."""
    data_dir: pathlib.Path | None = None
    """Where its files are; by default where the run found its own."""
    image_size: int | None = None
    """With --weights: the side in pixels that an image folder's images are brought to."""
    part: Literal["test", "validation", "train"] = "test"
    """Which part of it."""
    best: bool = False
    """The best checkpoint on the validation part, not the latest."""
    recalibrate: bool = False
    """Of a run: take the statistics of batch normalisation anew from its training part."""
    views: tuple[str, ...] = ()
    """Average over views: mirror, shifts:PIXELS, ten_crop:SIZE, scales:SIZE,SIZE:CROP; several are
    applied one after the other."""
    dropout_samples: int = 0
    """Average over so many masks of dropout."""
    batch_size: int = 512
    """Images at a time."""
    bins: int = 15
    """Of the reliability diagram."""
    runs: pathlib.Path = pathlib.Path("runs")
    """With --weights: where a numbered directory for the result is made."""


class Subject(NamedTuple):
    """What is evaluated on what, and where that is written."""

    recipe: "Recipe"
    states: "TrainState"
    dataset: "Dataset"
    directory: pathlib.Path
    title: str
    step: int | None
    about: dict[str, Any]


def run(config: Config) -> dict[str, Any]:
    """Evaluates a run, prints a table and writes figures and a JSON file into its directory.

    With several seeds, figures are means over them with standard errors; the confusion matrix is
    the sum, and the reliability diagram that of all their predictions. Weights from elsewhere get a
    numbered directory of their own.

    Returns:
      ``accuracy``, ``loss``, ``ece`` and ``per_class`` (name -> accuracy), as ``over_seeds`` gives
      them, with ``step``, ``dataset``, ``part`` and ``examples``.

    Raises:
      ResumeError: if there is no run.
      ValueError: if the data set does not fit the network, or the weights are another network's.
    """
    import jax
    import numpy as np

    from cnnlab.report import calibration, drawing, figures
    from cnnlab.train.environment import environment
    from cnnlab.train.records import write_json

    if config.run is None and config.weights is None:
        raise ValueError("give a run directory or --weights FILE.")
    _check_options(config)
    subject = _of_run(config) if config.run is not None else _of_weights(config)
    dataset, folder = subject.dataset, subject.directory / "figures"
    logits = predicted(config, subject)
    probabilities = np.asarray(jax.nn.softmax(logits, axis=-1))

    name = f"{config.part}-{dataset.name}{'-best' if config.best else ''}"
    name += "-recalibrated" if config.recalibrate else ""
    if config.run is not None and config.weights is not None:
        name += f"-{config.weights.stem}"
    if config.views or config.dropout_samples:
        kinds = config.views or (f"dropout{config.dropout_samples}",)
        name += "-" + "-".join(kinds).replace(":", "").replace(",", "+")
    labels, classes = dataset.labels, dataset.num_classes
    counts = [calibration.confusion(labels, each.argmax(axis=-1), classes) for each in logits]
    matrix = figures.confusion_matrix(
        np.sum(counts, axis=0), dataset.class_names, title=subject.title
    )
    drawing.save(matrix, folder / f"confusion-{name}.png")
    together = calibration.expected_calibration_error(
        probabilities.reshape(-1, classes), np.tile(labels, len(logits)), config.bins
    )
    diagram = figures.reliability(together, title=subject.title)
    drawing.save(diagram, folder / f"reliability-{name}.png")
    result = {
        "experiment": "evaluate",
        "dataset": dataset.name,
        "part": config.part,
        "examples": len(dataset),
        "step": subject.step,
        **subject.about,
        "environment": environment(pathlib.Path(__file__).resolve().parent),
        **_figures(logits, probabilities, labels, counts, dataset.class_names, config.bins),
        "figures": [str(folder / f"{kind}-{name}.png") for kind in ("confusion", "reliability")],
    }
    write_json(subject.directory / f"evaluate-{name}.json", result)
    print(_table(result))
    return result


def predicted(config: Config, subject: Subject) -> "np.ndarray":
    """Logits [M, N, K], or the logarithm of the mean probabilities over views and masks."""
    import numpy as np

    from cnnlab.ensemble.combination import combine
    from cnnlab.ensemble.predictions import dropout_logits, view_logits
    from cnnlab.train import predict

    if config.views and config.dropout_samples:
        raise ValueError("give --views or --dropout-samples, not both.")
    if config.dropout_samples < 0:
        raise ValueError(f"dropout_samples must be at least 1, got {config.dropout_samples}.")
    what = (subject.recipe, subject.states, subject.dataset)
    if config.views:
        views = parsed_views(config.views)
        logits = view_logits(*what, views, batch_size=config.batch_size)
    elif config.dropout_samples:
        logits = dropout_logits(*what, config.dropout_samples, batch_size=config.batch_size)
    else:
        return predict(*what, batch_size=config.batch_size)
    return np.log(np.maximum([combine(each) for each in logits], np.finfo(np.float64).tiny))


def parsed_views(texts: Sequence[str]) -> "Views":
    """The views that texts such as "mirror" and "scales:28,32:28" say, one after the other.

    Raises:
      ValueError: for an unknown name (the nearest is named) or numbers that do not fit.
    """
    import functools

    from cnnlab.augment import views
    from cnnlab.spelling import unknown

    known = {"identity": 0, "mirror": 0, "shifts": 1, "ten_crop": 1, "scales": 2}
    made = []
    for text in texts:
        name, *numbers = text.split(":")
        if name not in known:
            raise ValueError(unknown("view", name, tuple(known)))
        if len(numbers) != known[name] or not all(
            part.isdecimal() for number in numbers for part in number.split(",")
        ):
            raise ValueError(
                f"the view {name} needs {known[name]} numbers behind colons, such as shifts:2, "
                f"ten_crop:24 or scales:28,32:28, got {text!r}."
            )
        values: list[Any] = [int(number) for number in numbers if "," not in number]
        if name == "scales":
            values = [tuple(map(int, numbers[0].split(","))), int(numbers[1])]
        made.append(getattr(views, name)(*values))
    return functools.reduce(views.product, made)


def _of_run(config: Config) -> Subject:
    from cnnlab.train import recalibrate

    assert config.run is not None
    trained = config_of(config.run)
    own = load_data(trained)
    dataset = _part(config, trained, own)
    _check_fits(own.train, dataset)

    step: int | None
    if config.weights is None:
        recipe, states, step = networks_of(config.run, trained, own.train, best=config.best)
    else:
        recipe, step = recipe_of(config.run, trained, own.train), None
        states = _with_weights(config.weights, recipe, own.train)
    if config.recalibrate:
        states = recalibrate(recipe, states, own.train, batch_size=config.batch_size)
    at = f"step {step:,}" if config.weights is None else config.weights.name
    title = f"{trained.model} on {dataset.name}, {config.part} part, {at}"
    if (members := len(states.step)) > 1:
        title += f", {members} seeds together"
    about = {"run": config.run.name, "model": trained.model}
    if config.weights is not None:
        about["weights"] = config.weights.name
    return Subject(recipe, states, dataset, config.run.resolve(), title, step, about)


def _with_weights(path: pathlib.Path, recipe: "Recipe", train: "Dataset") -> "TrainState":
    """The states [1, ...] of the recipe's network with the weights of a file."""
    from cnnlab import models
    from cnnlab.train import states_of
    from cnnlab.train.state import state_shapes

    shapes = state_shapes(recipe, train.image_shape)
    like = {"params": shapes.params, **shapes.model_state}
    variables, report = models.weights.load(path, like)
    print(report)
    return states_of(recipe, variables)


def _of_weights(config: Config) -> Subject:
    from cnnlab.train.run import numbered

    if config.dataset is None:
        raise ValueError("--weights needs --dataset as well, and --data-dir where its files are.")
    splits = load_data(
        Training(
            dataset=config.dataset,
            data_dir=config.data_dir,
            image_size=config.image_size,
            validation=0.1 if config.part == "validation" else None,
        )
    )
    dataset = getattr(splits, config.part)
    loaded = load_foreign(config, dataset.num_classes, dataset.image_shape)
    print(loaded.report)
    directory = numbered(config.runs, f"evaluate-{dataset.name}-{config.model}")
    title = f"{config.model} on {dataset.name}, {config.part} part"
    assert config.weights is not None
    about = {
        "weights": config.weights.name,
        "sha256": hashlib.sha256(config.weights.read_bytes()).hexdigest(),
        "mapping": loaded.report.mapping,
        "loaded": f"{loaded.report.loaded} of {loaded.report.total}",
        "model": config.model,
        "model_options": config.model_options,
        "normalization": config.normalization,
    }
    return Subject(loaded.recipe, loaded.states, dataset, directory, title, None, about)


def _check_options(config: Config) -> None:
    """Refuses what would be passed over: options of a run with weights, and the other way round."""
    foreign = ("model", "model_options", "mapping", "normalization", "image_size")
    of_run = ("best", "recalibrate")
    names: tuple[str, ...]
    if config.run is None:
        names, what = of_run, "with a run directory"
    elif config.weights is None:
        names, what = foreign, "with --weights and no run directory"
    else:
        names, what = (*foreign, "best"), "without --weights or without a run directory"
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    given = [name for name in names if getattr(config, name) != defaults[name]]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"{options}: only {what}. Leave it out.")


def _part(config: Config, trained: TrainConfig, own: Any) -> Any:
    splits = own
    if config.dataset is not None or config.data_dir is not None:
        other = dataclasses.replace(
            trained,
            dataset=config.dataset or trained.dataset,
            data_dir=config.data_dir or trained.data_dir,
            validation=trained.validation if config.part == "validation" else None,
        )
        splits = load_data(other)
    dataset = getattr(splits, config.part)
    if dataset is None:
        raise ValueError("the run had no validation part: choose --part test or --part train.")
    return dataset


def _check_fits(train: Any, dataset: Any) -> None:
    if dataset.image_shape != train.image_shape:
        raise ValueError(
            f"the network was trained on images of shape {train.image_shape}, those of "
            f"{dataset.name} are {dataset.image_shape}."
        )
    if dataset.num_classes != train.num_classes:
        raise ValueError(
            f"the network tells {train.num_classes} classes apart, {dataset.name} has "
            f"{dataset.num_classes}."
        )


def _figures(
    logits: "np.ndarray",
    probabilities: "np.ndarray",
    labels: "np.ndarray",
    counts: list[Any],
    class_names: tuple[str, ...],
    bins: int,
) -> dict[str, Any]:
    import numpy as np
    from scipy.special import log_softmax

    from cnnlab.report import calibration
    from cnnlab.report.statistics import over_seeds

    at = np.arange(len(labels))
    losses = [-log_softmax(each, axis=-1)[at, labels].mean() for each in logits]
    eces = [
        calibration.expected_calibration_error(each, labels, bins).ece for each in probabilities
    ]
    by_class = np.stack([calibration.per_class_accuracy(each) for each in counts], axis=1)
    return {
        "accuracy": over_seeds([(each.argmax(axis=-1) == labels).mean() for each in logits]),
        "loss": over_seeds(losses),
        "ece": over_seeds(eces),
        "per_class": {
            name: over_seeds(values) for name, values in zip(class_names, by_class, strict=True)
        },
    }


def _table(result: dict[str, Any]) -> str:
    from cnnlab.report.statistics import percent

    width = max(len(name) for name in (*result["per_class"], "calibration error"))
    rows = [
        (f"{result['dataset']}, {result['part']} part", f"{result['examples']:,} images"),
        ("accuracy", percent(result["accuracy"])),
        ("loss", f"{result['loss']['mean']:.4f} nats"),
        ("calibration error", percent(result["ece"])),
        *((name, percent(figure)) for name, figure in result["per_class"].items()),
    ]
    lines = [f"{name.ljust(width)}  {text}" for name, text in rows]
    return "\n".join([*lines, *result["figures"]])


def main() -> None:
    """The command line."""
    launch.prepare()
    with launch.speaking_plainly("experiments.evaluate"):
        run(tyro.cli(Config, args=sys.argv[1:], description=__doc__))


if __name__ == "__main__":
    main()
