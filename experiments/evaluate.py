"""What a trained run does on a data set: accuracy by class, confusion, calibration.

python -m experiments.evaluate runs/digits-resnet8-1
python -m experiments.evaluate RUN --dataset npz --data-dir other.npz
python -m experiments.evaluate RUN --part validation --best
"""

import dataclasses
import pathlib
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from experiments import launch
from experiments.config import from_plain, load_data, make_recipe
from experiments.train import Config as TrainConfig

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Config:
    """What to evaluate on what."""

    run: Annotated[pathlib.Path, tyro.conf.Positional]
    """The run directory."""
    dataset: str | None = None
    """Another data set of the same classes and image shape; the run's own by default."""
    data_dir: pathlib.Path | None = None
    """Where its files are; by default where the run found its own."""
    part: Literal["test", "validation", "train"] = "test"
    """Which part of it."""
    best: bool = False
    """The best checkpoint on the validation part, not the latest."""
    batch_size: int = 512
    """Images at a time."""
    bins: int = 15
    """Of the reliability diagram."""


def run(config: Config) -> dict[str, Any]:
    """Evaluates a run, prints a table and writes figures and a JSON file into its directory.

    With several seeds, figures are means over them with standard errors; the confusion matrix is
    the sum, and the reliability diagram that of all their predictions.

    Returns:
      ``accuracy``, ``loss``, ``ece`` and ``per_class`` (name -> accuracy), as ``over_seeds`` gives
      them, with ``step``, ``dataset``, ``part`` and ``examples``.

    Raises:
      ResumeError: if there is no run.
      ValueError: if the data set does not fit the network.
    """
    import jax
    import numpy as np

    from cnnlab.report import calibration, figures
    from cnnlab.train import predict
    from cnnlab.train.records import write_json
    from cnnlab.train.run import Run, read_config

    trained = from_plain(TrainConfig, read_config(config.run))
    own = load_data(trained)
    recipe = make_recipe(trained, own.train)
    dataset = _part(config, trained, own)
    _check_fits(own.train, dataset)

    with Run.read(config.run) as opened:
        members = len(trained.all_seeds)
        step, states = opened.load(recipe, dataset.image_shape, members=members, best=config.best)
        folder = opened.directory / "figures"
    logits = predict(recipe, states, dataset, batch_size=config.batch_size)
    probabilities = np.asarray(jax.nn.softmax(logits, axis=-1))

    name = f"{config.part}-{dataset.name}{'-best' if config.best else ''}"
    labels, classes = dataset.labels, dataset.num_classes
    counts = [calibration.confusion(labels, each.argmax(axis=-1), classes) for each in logits]
    title = f"{trained.model} on {dataset.name}, {config.part} part, step {step:,}"
    if members > 1:
        title += f", {members} seeds together"
    figures.confusion_matrix(
        np.sum(counts, axis=0), dataset.class_names, folder / f"confusion-{name}.png", title=title
    )
    together = calibration.expected_calibration_error(
        probabilities.reshape(-1, classes), np.tile(labels, members), config.bins
    )
    figures.reliability(together, folder / f"reliability-{name}.png", title=title)
    result = {
        "experiment": "evaluate",
        "dataset": dataset.name,
        "part": config.part,
        "examples": len(dataset),
        "step": step,
        **_figures(logits, probabilities, labels, counts, dataset.class_names, config.bins),
        "figures": [str(folder / f"{kind}-{name}.png") for kind in ("confusion", "reliability")],
    }
    write_json(opened.directory / f"evaluate-{name}.json", result)
    print(_table(result))
    return result


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
