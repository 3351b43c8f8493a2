"""Turn a trained classifier into another one with few images: the lectures' recipes compared.

Claims: with few images, a linear classifier on a trained network's features beats a network that is
trained from scratch; so does fine-tuning.
Published: CS231n (Stanford, 2016) recommends by the size of the data and how alike the tasks are,
without figures. Yosinski et al. (NIPS 2014): transferred and fine-tuned features beat fresh ones,
by 1.6 points on ImageNet's halves.
Measured: see results/finetune-*.json (written by this module).

    python -m experiments.finetune
    python -m experiments.finetune --dataset folder --data-dir hymenoptera_data --image-size 227 \
        --weights squeezenet1_0.npz --model squeezenet --model-options head_padding=1 \
        --weights-normalization caffe --head-options head_activation=identity \
        --recipe linear scratch recommended --copies 4 --crop 16 --flip --batch-size 32 \
        --epochs 20 --learning-rate 1e-3 --scratch-learning-rate 0.01 --scratch-epochs 4
    python -m experiments.finetune --dataset folder --data-dir DIR --image-size 224 \
        --weights resnet50.pth --model resnet50 --batch-size 128 --epochs 60 --crop 28 --flip \
        --learning-rate 0.01 --scratch-epochs 200 --scratch-learning-rate 0.1 --validation 0.1
    python -m experiments.finetune --resume runs/finetune-digits-1

Without --from and --weights a network is trained first, on some classes of the data set, and tuned
to the others. It is one network, with which all seeds begin: they differ in the fresh head, the
order of the images and the augmentation, and the intervals are for these. The test part is looked
at once, at the end of each training; nothing is chosen by it, and a network that was trained on
images of it is refused. A recipe that diverges is not compared. SqueezeNet's rate is among the best
in cross-validation on the training images; it, the head's activation and the augmentation had been
tried on the test part before, so its figure is not blind. Its four epochs from scratch are few:
they cost more time than all else there.
"""

import dataclasses
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import tyro

from experiments import finetune_start
from experiments.config import Training, load_data, make_recipe
from experiments.finetune_claims import compare, diverged, said, summary
from experiments.finetuning import RECIPES, Cache, Details, Tuned, tune
from experiments.foreign import Normalization
from experiments.parts import Whole, open_whole, train_part
from experiments.resuming import command_line, resumed

if TYPE_CHECKING:
    from cnnlab.data import Splits
    from experiments.origins import Origin
    from experiments.recommending import Similarity

# Those of RECIPES, and the one that the data recommend.
Named = Literal["linear", "top", "all", "layerwise", "gradual", "scratch", "recommended"]
MAIN: tuple[Named, ...] = ("linear", "top", "all", "layerwise", "scratch")


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Take a trained network, and train it for other classes in several ways."""

    from_run: Annotated[pathlib.Path | None, tyro.conf.arg(name="from")] = None
    """The trained network: a finished run of experiments.train."""
    from_member: int = 0
    """Which of its networks, from 0."""
    from_data_dir: pathlib.Path | None = None
    """Where the files of its data set are; by default where the run found them."""
    weights: pathlib.Path | None = None
    """Or a file of weights, of --model: .pth, .pt, .th, .safetensors or .npz."""
    weights_classes: int = 1000
    """How many classes the file has."""
    weights_normalization: Normalization = "torchvision"
    """What the file was trained on: torchvision's statistics, Caffe's mean (RGB), or 0 to 1."""
    mapping: str | None = None
    """Whose names the file has: resnet, vgg, squeezenet_caffe …; found out if left out."""
    source_classes: tuple[str, ...] = ()
    """Or train one first, on these classes of the data set; of digits 0 to 4 by default."""
    source_epochs: int = 20
    """For so long."""

    recipe: tuple[Named, ...] = (*MAIN, "recommended")
    """What to compare."""
    head_options: tuple[str, ...] = ()
    """Settings of the model for the new classes only, such as head_activation=identity."""
    channels: Literal["sum", "adapt"] | None = None
    """What to do with the first kernels if the images have other channels than the network's."""
    top: int = 2
    """Stages that the recipe top trains, the head among them."""
    body: float = 0.1
    """The rate behind the head's, as a factor, for top and all."""
    decay: float | None = None
    """The factor from stage to stage for layerwise; 1, 1/10, 1/100 if left out."""
    copies: int = 0
    """Augmented copies of each image whose features are cached, where a front is frozen."""
    cache: Cache = "memory"
    """Where the features of a frozen front are kept."""
    little: int = 500
    """Images a class under which few stages are recommended."""
    scratch_epochs: int | None = None
    """Of from scratch; as many as of the others by default."""
    scratch_learning_rate: float | None = None
    """Of from scratch; that of the others by default."""

    epochs: int = 30
    batch_size: int = 16
    learning_rate: float = 0.03
    crop: int = 0
    seeds: int = 5
    per_class: int | None = None
    """Train on so many images a class only; 10 by default where a network is trained first."""
    validation: float | int | None = None
    """Part of the training images to validate on; shown only, nothing is chosen by it."""
    keep_every: tyro.conf.Suppress[int | None] = None

    @property
    def details(self) -> Details:
        """What the recipes leave open."""
        return Details(self.top, self.body, self.decay, self.copies, self.cache)

    def of(self, recipe: str) -> "Config":
        """The config that trains by a recipe."""
        if recipe != "scratch":
            return self
        epochs = self.epochs if self.scratch_epochs is None else self.scratch_epochs
        rate = self.scratch_learning_rate
        return dataclasses.replace(
            self,
            epochs=epochs,
            learning_rate=self.learning_rate if rate is None else rate,
            warmup_epochs=min(self.warmup_epochs, epochs / 2),
        )


class Study(NamedTuple):
    """What all trainings of the experiment have in common."""

    config: Config
    whole: Whole
    origin: "Origin"
    splits: "Splits"
    say: Any


def run(config: Config) -> dict[str, Any]:
    """Trains by one recipe after the other, and writes the run directory.

    Returns:
      What result.json holds: ``origin``; ``recipes`` (name -> test accuracy, its difference from
      scratch, seconds, what was cached …); ``recommended`` with its reason, where it was asked for;
      and ``claims``.

    Raises:
      ValueError: for settings that cannot be, with what can.
      SurgeryError: if the network does not fit the images.
      ResumeError: if there is no finished run to begin from, none to resume, or a resume would go
        on from other weights.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    from cnnlab.report.statistics import over_seeds

    if config.resume is not None:
        config = resumed(config)
    config = finetune_start.settled(config)
    splits = load_data(config)
    study, source_seconds = _begun(config, splits)
    origin, whole, say = study.origin, study.whole, study.say
    say(f"{splits.notes}\nrun directory: {whole.directory}")
    say(f"from {origin.name} to {', '.join(splits.train.class_names)}")
    say(f"{len(splits.train)} images to train on, {len(splits.test)} to test on")
    names, recommended, similarity = _names(study)
    found = dict(_tuned(study, names))
    claims = compare(found)
    _draw(study, found, similarity)
    about = {
        "images": {"train": len(splits.train), "test": len(splits.test)},
        "classes": splits.train.class_names,
        "model": origin.model,
        "origin": origin.name,
        "recipes": {
            name: each
            if each["diverged"]
            else {**each, "test_accuracy": over_seeds(each["test_accuracy"])}
            for name, each in found.items()
        },
        "recommended": recommended,
        "claims": claims,
        "seconds": round(source_seconds + sum(each["seconds"] or 0 for each in found.values()), 1),
    }
    result = whole.finish("finetune", config, splits.notes, about)
    print("\n".join(["", *said(result), f"see {whole.directory}"]))
    return result


# What to begin from --------------------------------------------------------------------------


def _begun(config: Config, splits: "Splits") -> tuple[Study, float]:
    """The trained network and the open run directory, and the seconds that it took to train.

    What cannot be is refused before anything is written.
    """
    from experiments.origins import of_states

    say = (lambda text: None) if config.quiet else print
    origin = finetune_start.given(config, splits)
    if origin is not None:
        own = finetune_start.as_origin(config, origin.model, origin.model_options)
        finetune_start.check(own, origin.variables, origin.channels, splits)
        whole = open_whole(config, f"finetune-{config.dataset}")
        finetune_start.check_same(whole.directory, origin)
        return Study(own, whole, origin, splits, say), 0.0
    source = dataclasses.replace(
        config,
        classes=config.source_classes,
        per_class=None,
        fraction=None,
        epochs=config.source_epochs,
        seeds=1,
        resume=None,
    )
    data = load_data(source)
    recipe = make_recipe(source, data.train)
    channels = data.train.image_shape[2]
    own = finetune_start.as_origin(config, config.model, config.model_options)
    finetune_start.check(own, finetune_start.shapes_of(recipe, data.train), channels, splits)
    whole = open_whole(config, f"finetune-{config.dataset}")
    say(f"\nfirst {config.model} on the classes {', '.join(data.train.class_names)}:")
    part = train_part(source, whole, "source", recipe, data.train, data.validation)
    name = f"{config.model} trained on {config.dataset}, {', '.join(data.train.class_names)}"
    origin = of_states(config, recipe, part.states, name, channels)
    finetune_start.check_same(whole.directory, origin)
    return Study(own, whole, origin, splits, say), part.seconds


# Training ------------------------------------------------------------------------------------


def _names(
    study: Study,
) -> "tuple[list[str], dict[str, Any] | None, Similarity | None]":
    """The recipes, each once; and what is recommended, where it was asked for."""
    from experiments import recommending

    config, train = study.config, study.splits.train
    if "recommended" not in config.recipe:
        return list(dict.fromkeys(config.recipe)), None, None
    similarity = recommending.measure(study.origin, train, _prepare(study), seed=config.seed)
    advice = recommending.recommend(len(train), train.num_classes, similarity, config.little)
    study.say(f"\nrecommended: {advice.recipe}. {advice.reason}")
    names = [advice.recipe if name == "recommended" else name for name in config.recipe]
    about = {**advice._asdict(), "similarity": recommending.plain(similarity)}
    return list(dict.fromkeys(names)), about, similarity


def _prepare(study: Study) -> Any:
    """The trained network's own preparation of images, where it can be that of these."""
    train = study.splits.train
    if study.origin.prepare is not None and study.origin.channels == train.image_shape[2]:
        return study.origin.prepare
    return make_recipe(study.config, train).prepare


def _tuned(study: Study, names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each recipe, trained now or, where it is finished, before."""
    from cnnlab.report.statistics import over_seeds, percent
    from cnnlab.train import DivergedError

    kept: dict[Any, Any] = {}
    if study.origin.model == "squeezenet" and not study.config.head_options:
        study.say(
            "note: SqueezeNet has a ReLU behind its last convolution, and a class whose logits it "
            "cuts off learns no more: --head-options head_activation=identity leaves it out."
        )
    for name in names:
        config = study.config.of(name)
        study.say(f"\n{name}, {RECIPES[name]}; {config.seeds} seeds:")
        begun = time.perf_counter()
        try:
            tuned = _tune(study, config, name, kept)
        except DivergedError as error:
            study.say(f"{name}: {error}")
            yield name, diverged(config)
            continue
        found = summary(config, tuned)
        if tuned.table:
            study.say(tuned.table)
        behind = f", behind the cached {tuned.front}" if tuned.front else ""
        study.say(
            f"{name}: test accuracy {percent(over_seeds(found['test_accuracy']))}, "
            f"{time.perf_counter() - begun:.0f} s with compiling{behind}"
        )
        yield name, found


def _tune(study: Study, config: Config, name: str, kept: dict[Any, Any]) -> Tuned:
    recipe = make_recipe(config, study.splits.train)
    if name != "scratch":
        recipe = dataclasses.replace(recipe, prepare=_prepare(study))
    differ = study.origin.channels != study.splits.train.image_shape[2]
    return tune(
        name,
        config,
        study.whole,
        name,
        study.origin.variables,
        study.splits,
        recipe=recipe,
        details=config.details,
        channels=config.channels if differ else None,
        kept=kept,
    )


# What is drawn --------------------------------------------------------------------------------


def _draw(
    study: Study, found: Mapping[str, Mapping[str, Any]], similarity: "Similarity | None"
) -> None:
    import jax

    from cnnlab.report import finetune_figures

    if jax.process_index() > 0:
        return
    train = study.splits.train
    notes = {}
    for name, each in found.items():
        notes[name] = "diverged"
        if not each["diverged"]:
            notes[name] = f"{each['parameters']:,} learn, {each['seconds']:.0f} s"
    finetune_figures.recipes(
        {name: each["test_accuracy"] for name, each in found.items()},
        study.whole.directory / "figures" / "recipes.png",
        chance=1 / train.num_classes,
        probes=None
        if similarity is None
        else {"trained": similarity.trained, "fresh weights": similarity.fresh},
        notes=notes,
        title=f"{study.origin.name}, tuned to {len(train)} images of {train.num_classes} classes",
    )


# The command line ----------------------------------------------------------------------------


def main() -> None:
    """The command line."""
    command_line("experiments.finetune", run, Config(), __doc__)


if __name__ == "__main__":
    main()
