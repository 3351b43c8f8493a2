"""What the stages of a trained network give for a data set, written to an .npz file.

    python -m experiments.features runs/digits-resnet8-1
    python -m experiments.features RUN --stages stage2 stage3 --part train --pool none --to f.npz
    python -m experiments.features RUN --dataset npz --data-dir other.npz
    python -m experiments.features --weights FILE.th --model resnet20 --dataset cifar10 \
        --data-dir DIR --to features.npz
    python -m experiments.features --weights FILE.npz --model squeezenet \
        --model-options num_classes=1000 head_padding=1 --normalization caffe \
        --dataset folder --data-dir DIR --image-size 224 --to features.npz

The file holds an array for each stage under its name, float32 [M, N, D] for M seeds and N images,
in their order; ``labels`` int32 [N] and ``class_names``. ``transfer.features.load_features`` and
``numpy.load`` read it.
"""

import dataclasses
import pathlib
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import tyro

from experiments import launch
from experiments.config import Training, load_data, options
from experiments.finished import config_of, networks_of
from experiments.foreign import Foreign, Loaded, load_foreign

if TYPE_CHECKING:
    from cnnlab.data import Dataset
    from cnnlab.train import Recipe, TrainState


@dataclasses.dataclass(frozen=True)
class Config(Foreign):
    """Which stages of which network to show which images."""

    run: Annotated[pathlib.Path | None, tyro.conf.Positional] = None
    """The run directory; or none, and --weights."""
    stages: tuple[str, ...] = ()
    """Such as stage2 head; all that give one array if left out."""
    pool: str = "mean"
    """Of images: mean over all positions, a number of cells a side, such as 4, or none."""
    dataset: str | None = None
    """Another data set of the same image shape; the run's own by default."""
    data_dir: pathlib.Path | None = None
    """Where its files are; by default where the run found its own."""
    image_size: int | None = None
    """With --weights: the side in pixels that an image folder's images are brought to."""
    part: Literal["test", "validation", "train"] = "test"
    """Which part of it."""
    best: bool = False
    """Of a run: the best checkpoint on the validation part, not the latest."""
    to: pathlib.Path | None = None
    """The file, .npz; RUN/features-PART-DATASET.npz if left out."""
    batch_size: int = 256
    """Images at a time."""


class Subject(NamedTuple):
    """Which networks are shown which images."""

    recipe: "Recipe"
    states: "TrainState"
    dataset: "Dataset"
    name: str


def run(config: Config) -> pathlib.Path:
    """Writes the file and says what is in it.

    Raises:
      ResumeError: if there is no run.
      ValueError: for an unknown stage or one that gives a tuple, data of another shape, weights of
        another network, or a file that does not end with .npz.
    """
    from cnnlab.transfer.features import features, save_features

    pool = pool_of(config.pool)
    to = _target(config)
    subject = _of_run(config) if config.run is not None else _of_weights(config)
    what = subject.recipe, subject.states, subject.dataset
    found = features(*what, config.stages or None, pool=pool, batch_size=config.batch_size)
    save_features(to, found, subject.dataset, f"{subject.name}, pool {config.pool}")
    print(f"{to}: {subject.name}")
    for stage, array in found.items():
        print(f"  {stage:<10} {array.dtype} {list(array.shape)}")
    return to


def pool_of(text: str) -> "Literal['mean'] | int | None":
    """What "mean", "none" and "4" mean to ``transfer.features``.

    Raises:
      ValueError: for anything else.
    """
    if text == "mean":
        return "mean"
    if text == "none":
        return None
    if not text.isdecimal() or not int(text):
        raise ValueError(f"--pool must be mean, none or a number of cells a side, got {text!r}.")
    return int(text)


def load_weights(
    config: Foreign, dataset: "Dataset", *, image_shape: Any = None, num_classes: int | None = None
) -> Loaded:
    """The network of a file, which may tell other classes apart than the data set.

    Args:
      config: the file and the network; its model_options may say num_classes=1000.
      dataset: whose images it will see.
      image_shape: in place of the data set's.
      num_classes: of the file, in place of the data set's.
    """
    classes = options(config.model_options).get("num_classes", num_classes or dataset.num_classes)
    others = tuple(text for text in config.model_options if not text.startswith("num_classes="))
    plain = dataclasses.replace(config, model_options=others)
    return load_foreign(plain, classes, image_shape or dataset.image_shape)


def _target(config: Config) -> pathlib.Path:
    if config.run is None and config.weights is None:
        raise ValueError("give a run directory or --weights FILE.")
    if config.run is not None and config.weights is not None:
        raise ValueError("give a run directory or --weights FILE, not both.")
    if config.to is None:
        if config.run is None:
            raise ValueError("--weights needs --to FILE.npz as well: where the features go.")
        name = (config.dataset or config_of(config.run).dataset).replace("/", "-").replace(":", "-")
        return config.run / f"features-{config.part}-{name}.npz"
    if config.to.suffix != ".npz":
        raise ValueError(f"the file must end with .npz, got {config.to}.")
    return config.to


def _of_run(config: Config) -> Subject:
    assert config.run is not None
    trained = config_of(config.run)
    own = load_data(trained)
    splits = own
    if config.dataset is not None or config.data_dir is not None:
        data_dir = config.data_dir or trained.data_dir
        name = config.dataset or trained.dataset
        splits = load_data(dataclasses.replace(trained, dataset=name, data_dir=data_dir))
    dataset = _part(splits, config.part)
    if dataset.image_shape != own.train.image_shape:
        raise ValueError(
            f"the network was trained on images of shape {own.train.image_shape}, those of "
            f"{dataset.name} are {dataset.image_shape}."
        )
    networks = networks_of(config.run, trained, own.train, best=config.best)
    name = f"{trained.model} of {config.run.name} at step {networks.step:,} on {dataset.name}"
    return Subject(networks.recipe, networks.states, dataset, f"{name}, {config.part} part")


def _of_weights(config: Config) -> Subject:
    if config.dataset is None:
        raise ValueError("--weights needs --dataset as well, and --data-dir where its files are.")
    if config.best:
        raise ValueError("--best: only with a run directory. Leave it out.")
    data = Training(
        dataset=config.dataset,
        data_dir=config.data_dir,
        image_size=config.image_size,
        validation=0.1 if config.part == "validation" else None,
    )
    dataset = _part(load_data(data), config.part)
    loaded = load_weights(config, dataset)
    print(loaded.report)
    assert config.weights is not None
    name = f"{config.model} with {config.weights.name} on {dataset.name}, {config.part} part"
    return Subject(loaded.recipe, loaded.states, dataset, name)


def _part(splits: Any, part: str) -> "Dataset":
    dataset: Dataset | None = getattr(splits, part)
    if dataset is None:
        raise ValueError(f"there is no {part} part: choose --part train or --part test.")
    return dataset


def main() -> None:
    """The command line."""
    launch.prepare()
    with launch.speaking_plainly("experiments.features"):
        run(tyro.cli(Config, args=sys.argv[1:], description=__doc__))


if __name__ == "__main__":
    main()
