"""With against without unsupervised pretraining (Erhan et al., JMLR 2010).

Claims: a deep network of sigmoids learns more from few labels if its layers have learned from
images without labels before, layer by layer; the gain shrinks with more labels, and pretrained
networks vary less from seed to seed (here over draws of labelled images, too, which differ between
seeds: only with ``--same-images`` is it the seed alone).
Published: MNIST with all labels: after fine-tuning, deep networks begun at random have a higher
test error and more outliers than pretrained ones, the more so the deeper; with ten million examples
seen once the gain is still there, so that it is no regularisation alone. Vincent et al. (JMLR
2010): denoising autoencoders are better than plain ones, about level with Boltzmann machines.
Measured: see results/pretrain-*.json (written by this module).

    python -m experiments.pretrain
    python -m experiments.pretrain --dataset mnist --data-dir DIR --labels 10 50 100 500 \
        --model-options "widths=(400,400,400)" activation=sigmoid --learning-rate 2e-3 \
        --pretrain-epochs 5 --pretrain-batch-size 100 --autoencoder-rate 1e-3
    python -m experiments.pretrain --dataset mnist --data-dir DIR --seeds 10 --epochs 40 \
        --labels 10 50 100 500 1000 5000 --updates 500 --batch-size 100 --learning-rate 1e-3 \
        --model-options "widths=(1000,1000,1000)" activation=sigmoid --pretrain-epochs 50 \
        --methods none relu autoencoder denoising rbm --pretrain-batch-size 100 \
        --autoencoder-rate 1e-3
    python -m experiments.pretrain --resume runs/pretrain-digits-1

All training images are there to pretrain on; of these, each seed draws its own labelled ones, the
same for every method, and fewer are a part of more. Fine-tuning takes the same updates, rate and
order for every method; few images are gone through several times an epoch. Nothing is chosen by the
test part, and there is no validation part: with ten labels a class nobody has one. The rates are
the same for all: what each method could reach with its own is not asked. ``relu`` is a network of
rectifiers without pretraining, by which the method went out of use (Glorot et al., AISTATS 2011).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import tyro

from cnnlab.spelling import unknown
from experiments.config import Training, load_data, make_recipe, options
from experiments.parts import Whole, fresh_states, open_whole, train_part
from experiments.pretrain_claims import METHODS, PRETRAINED, compare, line, said
from experiments.pretrain_layers import pretrained
from experiments.resuming import command_line, resumed

if TYPE_CHECKING:
    import numpy as np

    from cnnlab.data import Splits
    from cnnlab.transfer.rbm import Kind, Machine


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Pretrain networks without labels, fine-tune them with few, and compare."""

    methods: tuple[str, ...] = ("none", "relu", "denoising", "rbm")
    """Of none, relu, autoencoder, denoising and rbm."""
    labels: tuple[int, ...] = (5, 20, 100)
    """How many images a class have labels."""
    updates: int = 60
    """The least updates in an epoch of fine-tuning."""
    same_images: bool = False
    """Give all seeds the same labelled images, so that only their weights and order differ."""

    pretrain_epochs: int = 20
    """Passes over all training images, for each layer."""
    pretrain_batch_size: int = 20
    """Images in an update of pretraining."""
    corruption: float = 0.25
    """The fraction of its input that a denoising autoencoder does not see."""
    autoencoder_rate: float = 3e-3
    """Learning rate of the autoencoders, by Adam."""
    rbm_rate: float = 0.05
    """Learning rate of the Boltzmann machines, by gradient descent with momentum 0.9."""
    gibbs_steps: int = 1
    """Of contrastive divergence."""
    persistent: bool = False
    """Let its chains go on from batch to batch."""

    model: tyro.conf.Suppress[str] = "mlp"
    model_options: tuple[str, ...] = ("widths=(100,100,100)", "activation=sigmoid")
    """Of the perceptron; no normalisation."""
    init: str = "glorot"
    """How weights start that are not pretrained; those of relu start by he."""
    epochs: int = 10
    batch_size: int = 50
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adam"
    learning_rate: float = 5e-3
    warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    normalization: Literal["channel", "mean-image", "unit"] = "unit"
    """With unit the inputs are probabilities, otherwise real numbers ("gaussian" units)."""
    crop: int = 0
    seeds: int = 5
    validation: tyro.conf.Suppress[float | int | None] = None
    keep_every: tyro.conf.Suppress[int | None] = None

    @property
    def visible(self) -> "Kind":
        """The kind of the inputs."""
        return "bernoulli" if self.normalization == "unit" else "gaussian"

    def of_method(self, method: str) -> "Config":
        """The config that trains the networks of a method."""
        if method != "relu":
            return self
        given = (*self.model_options, "activation=relu")  # the later one counts
        return dataclasses.replace(self, model_options=given, init="he", init_options=())


class Study(NamedTuple):
    """What all trainings of the experiment have in common."""

    config: Config
    whole: Whole
    splits: "Splits"
    say: Callable[[str], Any]


def run(config: Config) -> dict[str, Any]:
    """Pretrains, fine-tunes with each number of labels, and writes the run directory.

    Returns:
      What result.json holds: ``points`` (for each method and number of labels the accuracy on the
      test part and on the labelled images), ``pretraining`` (method -> seconds and the errors of
      reconstruction, a mean over seeds, [L][E]) and ``claims``, as ``compare`` gives them.

    Raises:
      ValueError: for settings that cannot be, with what can.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    if config.resume is not None:
        config = resumed(config)
    splits = load_data(config)
    _check(config, splits)
    say = (lambda text: None) if config.quiet else print
    study = Study(config, open_whole(config, f"pretrain-{config.dataset}"), splits, say)
    say(f"{splits.notes}\nrun directory: {study.whole.directory}")
    points: list[dict[str, Any]] = []
    pretraining, filters = {}, {}
    for method in config.methods:
        layers = None
        if method in PRETRAINED:
            stacks, pretraining[method] = pretrained(study, method)
            layers = stacks.layers
            filters[METHODS[method]] = layers[0].kernel[0]
        for point in fine_tuned(study, method, layers):
            points.append(point)
            say(line(point))
    claims = compare(points, same_images=config.same_images)
    _draw(config, splits, points, filters, study.whole)
    seconds = sum(each["seconds"] for each in (*points, *pretraining.values()))
    about = {
        "model": " ".join((config.model, *config.model_options)),
        "points": points,
        "pretraining": pretraining,
        "claims": claims,
        "seconds": round(seconds, 1),
    }
    result = study.whole.finish("pretrain", config, splits.notes, about)
    print("\n".join(["", *said(result), f"see {study.whole.directory}"]))
    return result


def _check(config: Config, splits: "Splits") -> None:
    """Refuses what could not be trained, before anything is written."""
    import numpy as np

    from cnnlab.train import check_fits
    from cnnlab.transfer import stacking

    train = splits.train
    for method in config.methods:
        if method not in METHODS:
            raise ValueError(unknown("method of pretraining", method, METHODS))
    if not config.methods or len(set(config.methods)) < len(config.methods):
        raise ValueError(f"methods must be some, each given once, got {config.methods}.")
    smallest = int(np.bincount(train.labels, minlength=train.num_classes).min())
    fits = all(1 <= count <= smallest for count in config.labels)
    if not config.labels or not fits or len(set(config.labels)) < len(config.labels):
        raise ValueError(
            f"labels must be numbers of images a class, each given once, of 1 to {smallest}, as "
            f"many as the smallest class has, got {config.labels}."
        )
    for name in ("updates", "pretrain_epochs", "pretrain_batch_size", "gibbs_steps"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(config, name)}.")
    for name in ("autoencoder_rate", "rbm_rate"):
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} must be positive, got {getattr(config, name)}.")
    if config.pretrain_batch_size > len(train):
        raise ValueError(
            f"pretrain_batch_size must be at most {len(train)}, as many as there are training "
            f"images, got {config.pretrain_batch_size}."
        )
    stacking.masking(config.corruption)
    chosen = options(config.model_options)
    activation = chosen.get("activation", "relu")
    if config.model != "mlp" or chosen.get("norm", "none") != "none":
        raise ValueError("the layers of mlp without normalisation can be pretrained: leave it so.")
    if activation != "sigmoid" and "rbm" in config.methods:
        raise ValueError(
            f"the units of Boltzmann machines must be sigmoid ones, got activation={activation}. "
            "Leave rbm out of the methods."
        )
    if activation == "relu" and "relu" in config.methods:
        raise ValueError("with activation=relu the method relu is none: leave one of them out.")
    for method in config.methods:
        check_fits(make_recipe(config.of_method(method), train), train)


# With labels ---------------------------------------------------------------------------------


def fine_tuned(
    study: Study, method: str, layers: "Sequence[Machine] | None"
) -> list[dict[str, Any]]:
    """Trains the networks of a method with each number of labels, from the layers or afresh."""
    from cnnlab.report.statistics import over_seeds
    from cnnlab.train import evaluate, records
    from cnnlab.train.state import restarted
    from cnnlab.transfer import stacking

    config = study.config.of_method(method)
    train = study.splits.train
    points = []
    for count in sorted(config.labels):
        subsets = labelled(train.labels, count, config.all_seeds, same=config.same_images)
        subsets = _long_enough(subsets, config.updates * config.batch_size)
        recipe = make_recipe(config, train.take(subsets[0]))
        settings: dict[str, Any] = {"subsets": subsets}
        if layers is not None:
            fresh = fresh_states(config, recipe, train, config.all_seeds)
            params = stacking.with_hidden_layers(fresh.params, layers)
            settings["initial"] = restarted(recipe, params, fresh.model_state)
        study.say(f"\n{METHODS[method]}, {count} labels a class, {config.seeds} seeds:")
        name = f"{method}-{count}"
        part = train_part(config, study.whole, name, recipe, train, **settings)
        tested = evaluate(recipe, part.states, study.splits.test)["accuracy"]
        lines = records.read_metrics(study.whole.directory / name / records.METRICS_FILE)
        last = [each["train/accuracy"] for each in lines if "epoch" in each][-1]
        point = {
            "method": method,
            "labels": count,
            "test_accuracy": over_seeds(tested),
            "train_accuracy": over_seeds(last if isinstance(last, list) else [last]),
            "seconds": round(part.seconds, 1),
        }
        points.append(point)
    return points


def labelled(
    labels: "np.ndarray", count: int, seeds: Sequence[int], *, same: bool = False
) -> "np.ndarray":
    """Which images have labels, int64 ``[M, K * count]``: so many of each class for each seed.

    The images of a smaller count are among those of a larger one.

    Args:
      labels: int ``[N]``; each class has ``count`` images or more.
      count: of each class.
      seeds: of the draws.
      same: draw for the first seed, and give its images to all.
    """
    import numpy as np

    def drawn(seed: int) -> "np.ndarray":
        generator = np.random.Generator(np.random.PCG64([seed, 0x1ABE1]))
        classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        return np.sort(np.concatenate([generator.permutation(own)[:count] for own in classes]))

    return np.stack([drawn(seeds[0] if same else seed) for seed in seeds])


def _long_enough(subsets: "np.ndarray", images: int) -> "np.ndarray":
    """Each row repeated to so many images in an epoch, unless it has them already."""
    import numpy as np

    if subsets.shape[1] >= images:
        return subsets
    return np.stack([np.resize(row, images) for row in subsets])


# What is drawn --------------------------------------------------------------------------------


def _draw(
    config: Config,
    splits: "Splits",
    points: Sequence[Mapping[str, Any]],
    filters: Mapping[str, Any],
    whole: Whole,
) -> None:
    import jax

    from cnnlab.report import drawing, mosaics, pretrain_figures

    if jax.process_index() > 0:
        return
    drawn = {}
    for method in config.methods:
        own = [each for each in points if each["method"] == method]
        drawn[METHODS[method]] = {
            "labels": [each["labels"] for each in own],
            "accuracy": [each["test_accuracy"]["values"] for each in own],
        }
    figures = whole.directory / "figures"
    title = f"{' '.join(config.model_options)} on {config.dataset}"
    baseline = METHODS["none"] if "none" in config.methods else None
    accuracy = pretrain_figures.accuracy(drawn, baseline=baseline, title=title)
    drawing.save(accuracy, figures / "accuracy.png")
    if filters:
        shape = splits.train.image_shape
        kernels = {name: kernel.reshape(*shape, -1) for name, kernel in filters.items()}
        units = mosaics.filters(kernels, most=49, title=title)
        drawing.save(units, figures / "filters.png")


# The command line ----------------------------------------------------------------------------


def main() -> None:
    """The command line."""
    command_line("experiments.pretrain", run, Config(), __doc__)


if __name__ == "__main__":
    main()
