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
    python -m experiments.finetune --recipe rules \
        --rates "stem/.*=0" "stage[12]/.*=0.1" "(stage3|head)/.*=1" --reinitialise stage3 head
    python -m experiments.finetune --resume runs/finetune-digits-1
    python -m experiments.evaluate runs/finetune-digits-1/networks/linear

The networks of every recipe are left in networks/RECIPE, a finished run of its own: evaluate,
export, features, ensemble --of, distill and --from of finetune and probe read it like any other.

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
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from experiments import finetune_start, handing_on
from experiments.config import Training, load_data, make_recipe
from experiments.finetune_claims import compare, diverged, said, summary
from experiments.finetune_recipes import RECIPES, Cache, Details, parsed_rules
from experiments.finetune_study import Study, begin, shown, trained
from experiments.foreign import Normalization
from experiments.resuming import command_line, resumed

if TYPE_CHECKING:
    from experiments.recommending import Similarity

# Those of RECIPES, and the one that the data recommend.
Named = Literal["linear", "top", "all", "layerwise", "gradual", "rules", "scratch", "recommended"]
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
    reinitialise: tuple[str, ...] = ()
    """What starts afresh, and must learn: stages or patterns such as "stage3/.*"; else the head."""
    rates: tuple[str, ...] = ()
    """For the recipe rules: PATTERN=FACTOR …, one for every parameter's path; 0 freezes."""
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
        """What the recipes leave open.

        Raises:
          ValueError: for settings that cannot be.
        """
        rules = parsed_rules(self.rates)
        if rules and "rules" not in self.recipe:
            raise ValueError(
                "--rates are for the recipe rules, which is not among the recipes "
                f"{', '.join(self.recipe)}: add it, or leave them out."
            )
        return Details(
            top=self.top,
            body=self.body,
            decay=self.decay,
            copies=self.copies,
            cache=self.cache,
            rules=rules,
            reinitialise=self.reinitialise,
        )

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
    study, source_seconds = begin(config, splits)
    origin, whole, say = study.origin, study.whole, study.say
    say(f"{splits.notes}\nrun directory: {whole.directory}")
    say(f"from {origin.name} to {', '.join(splits.train.class_names)}")
    for report in (origin.loaded, study.surgery):
        if report is not None:
            say(str(report))
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
        "loaded": None if origin.loaded is None else str(origin.loaded).splitlines(),
        "surgery": {**dataclasses.asdict(study.surgery), "copied": len(study.surgery.copied)},
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
    handed = [whole.directory / handing_on.FOLDER / n for n in found if not found[n]["diverged"]]
    if handed:
        print(f"and go on with its networks:  python -m experiments.evaluate {handed[0]}")
    return result


# Training ------------------------------------------------------------------------------------


def _names(
    study: Study,
) -> "tuple[list[str], dict[str, Any] | None, Similarity | None]":
    """The recipes, each once; and what is recommended, where it was asked for."""
    from experiments import recommending

    config, train = study.config, study.splits.train
    if "recommended" not in config.recipe:
        return list(dict.fromkeys(config.recipe)), None, None
    prepare = make_recipe(*shown(config, study.origin, train)).prepare
    similarity = recommending.measure(
        study.origin, train, prepare, seed=config.seed, channels=config.channels
    )
    advice = recommending.recommend(len(train), train.num_classes, similarity, config.little)
    study.say(f"\nrecommended: {advice.recipe}. {advice.reason}")
    names = [advice.recipe if name == "recommended" else name for name in config.recipe]
    about = {**advice._asdict(), "similarity": recommending.plain(similarity)}
    return list(dict.fromkeys(names)), about, similarity


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
            tuned = trained(study, name, kept)
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


# What is drawn --------------------------------------------------------------------------------


def _draw(
    study: Study, found: Mapping[str, Mapping[str, Any]], similarity: "Similarity | None"
) -> None:
    import jax

    from cnnlab.report import drawing, finetune_figures

    if jax.process_index() > 0:
        return
    train = study.splits.train
    notes = {}
    for name, each in found.items():
        notes[name] = "diverged"
        if not each["diverged"]:
            notes[name] = f"{each['parameters']:,} learn, {each['seconds']:.0f} s"
    figure = finetune_figures.recipes(
        {name: each["test_accuracy"] for name, each in found.items()},
        chance=1 / train.num_classes,
        probes=None
        if similarity is None
        else {"trained": similarity.trained, "fresh weights": similarity.fresh},
        notes=notes,
        title=f"{study.origin.name}, tuned to {len(train)} images of {train.num_classes} classes",
    )
    drawing.save(figure, study.whole.directory / "figures" / "recipes.png")


# The command line ----------------------------------------------------------------------------


def main() -> None:
    """The command line."""
    command_line("experiments.finetune", run, Config(), __doc__)


if __name__ == "__main__":
    main()
