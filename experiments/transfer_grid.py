"""Little or a lot of data, similar or different: which recipe of transfer wins (CS231n's 2 x 2).

Claim (Stanford's CS231n, lecture on transfer learning), for a network trained on a source:

    | target's data | similar to the source | different |
    | little | a linear classifier on top | a linear classifier on an earlier stage ("trouble") |
    | a lot | fine-tune a few stages | fine-tune a larger number of stages |

Published: no figures, a rule of thumb.
Measured: see results/transfer_grid-*.json (written by this module).

    python -m experiments.transfer_grid
    python -m experiments.transfer_grid --dataset fashion_mnist --data-dir DIR --other mnist \
        --source 0 3 4 5 8 --few 10 --many 400 --validation 2000 --source-epochs 3 --epochs 8 \
        --batch-size 32 --rates 1e-3 5e-3 2e-2
    python -m experiments.transfer_grid --dataset cifar100 --data-dir DIR --few 5 --many None \
        --model resnet20 --crop 4 --flip --source-epochs 100 --epochs 50 --batch-size 128 \
        --optimizer nesterov --weight-decay 5e-4 --learning-rate 0.1 --rates 0.01 0.03 0.1 \
        --recipes linear early top all layerwise gradual scratch --early stage1 stage2
    python -m experiments.transfer_grid --resume runs/transfer-grid-digits-1

The source is one half of the classes of the data set, the similar target the other half. The
different target is another data set ("other"); by default "shuffled", the similar target with the
pixels of every image in one random order: the same classes and as many images, but without the
neighbourhoods that the source's features live on.

Each recipe is trained in each cell at each of the same rates; the mean accuracy over the seeds on
the validation part chooses the rate and, for a classifier on an earlier stage, the stage. That part
is as large for little data as for a lot: who has little has less to choose by. All trainings have
as many updates: little data are shown the more often. Every seed draws little data of its own from
a lot, the same for all recipes. The source's network is the same for all: what it is by chance is
not in the intervals. The test part is looked at once, by the networks that were chosen.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import tyro

from experiments import grid_claims, teachers
from experiments.config import Training, make_recipe
from experiments.finetuning import RECIPES, Tuned, rates_of, shares, tune
from experiments.grid_claims import AMOUNTS, EARLY, said
from experiments.grid_data import SHUFFLED, Target, load_all
from experiments.parts import Whole, open_whole, train_part
from experiments.resuming import command_line, resumed

if TYPE_CHECKING:
    from cnnlab.data import Splits
    from cnnlab.models import Network
    from cnnlab.train import Recipe


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train a source, then all recipes with little and a lot of similar and different data."""

    source: tuple[str, ...] = ()
    """Classes of the source, by name or number; the first half of them by default."""
    other: str = SHUFFLED
    """The different target: "shuffled", or a data set with images of the same shape."""
    other_classes: tuple[str, ...] = ()
    """Its classes; by default the first ones, as many as the similar target has."""
    few: int = 4
    """Little data: so many images a class."""
    many: int | None = 80
    """A lot of data: so many images a class, or None for all there are."""
    source_epochs: int = 8
    """Passes over the source's data."""
    recipes: tuple[str, ...] = ("linear", EARLY, "top", "all", "scratch")
    """Of linear, early, top, all, layerwise, gradual, scratch."""
    rates: tuple[float, ...] = (1e-2, 3e-2)
    """The learning rates that every recipe is tried at."""
    early: tuple[str, ...] = ()
    """Stages that "early" tries a linear classifier on; the middle one by default."""

    model: str = "lenet5"
    model_options: tuple[str, ...] = ("padding=SAME",)
    """Further settings of the model; of another model than lenet5 none by default."""
    epochs: int = 3
    """Passes over a lot of data; little data are shown as many times as many images."""
    batch_size: int = 8
    optimizer: Literal["sgd", "nesterov", "adam", "adamw"] = "adam"
    learning_rate: float = 3e-3
    """The source's."""
    weight_decay: float = 0.0
    validation: int | float | None = 0.2
    """Part of the target's training images to choose by: a fraction or a number of images."""
    crop: int = 0
    seeds: int = 4
    warmup_epochs: float = 0.0
    classes: tyro.conf.Suppress[tuple[str, ...] | None] = None
    per_class: tyro.conf.Suppress[int | None] = None
    fraction: tyro.conf.Suppress[float | None] = None
    keep_every: tyro.conf.Suppress[int | None] = None

    def data(self) -> "tuple[Splits, dict[str, Target]]":
        """The source, and the targets by similarity."""
        return load_all(self, self.source, self.other, self.other_classes, self.few, self.many)


class Candidate(NamedTuple):
    """A way to go about a recipe."""

    rate: float
    stage: str | None  # that the classifier stands on, where it is not the last one

    @property
    def text(self) -> str:
        """For file names."""
        return f"{self.rate:g}" if self.stage is None else f"{self.stage}-{self.rate:g}"


class Study(NamedTuple):
    """What all trainings of the experiment have in common."""

    config: Config
    whole: Whole
    source: "Recipe"
    variables: Mapping[str, Any]  # of the source's network
    targets: Mapping[str, Target]  # by similarity
    say: Any


def run(config: Config) -> dict[str, Any]:
    """Trains the source, then every recipe in every cell, and writes the run directory.

    Returns:
      What result.json holds: ``source``; ``cells``: for each its target, what each recipe was
      chosen to be, came to, and differs by from scratch, what the lecture recommends and what won;
      and ``claims``, as ``grid_claims.compare`` gives them.

    Raises:
      ValueError: for settings that cannot be, with what can.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    if config.resume is not None:
        config = resumed(config)
    config = teachers.own_options(config)
    splits, targets = config.data()
    say = (lambda text: None) if config.quiet else print
    learning = dataclasses.replace(config, epochs=config.source_epochs)
    recipe = make_recipe(learning, splits.train)
    _check(config, learning, recipe, splits, targets)
    whole = open_whole(config, f"transfer-grid-{config.dataset}")
    say(f"{splits.notes}\nrun directory: {whole.directory}")
    variables, source = _source(learning, whole, recipe, splits)
    say(f"source: {', '.join(source['classes'])}; {100 * source['test_accuracy']:.2f} %")
    study = Study(config, whole, recipe, variables, targets, say)
    cells = list(_cells(study))
    claims = [row for cell in cells for row in grid_claims.compare(cell)]
    _draw(config, cells, whole)
    about = {
        "other": config.other,
        "model": config.model,
        "source": source,
        "cells": cells,
        "claims": claims,
        "seconds": round(source["seconds"] + sum(cell["seconds"] for cell in cells), 1),
    }
    result = whole.finish("transfer_grid", config, splits.notes, about)
    print("\n".join(["", *said(result), f"see {whole.directory}"]))
    return result


# Cells ---------------------------------------------------------------------------------------


def candidates(config: Config, name: str, stages: Sequence[str]) -> list[Candidate]:
    """What the recipe ``name`` is tried as; ``stages`` have parameters, the head last."""
    on: Sequence[str | None] = [None]
    if name == EARLY:
        on = config.early or stages[(len(stages) - 2) // 2 :][:1]
    return [Candidate(rate, stage) for stage in on for rate in config.rates]


def cut(network: "Network", stage: str) -> "Network":
    """The network with its head behind ``stage`` instead of its end."""
    from cnnlab.models import Network

    front = network.front(stage)
    return Network((*front.stages, network.stages[-1]))


def _cells(study: Study) -> Iterator[dict[str, Any]]:
    """Every recipe in every cell."""
    for similarity, target in study.targets.items():
        kept: dict[Any, Any] = {}  # what fronts gave: for both amounts and all recipes
        for amount in AMOUNTS:
            little = amount == AMOUNTS[0]
            images = target.draws.shape[1] if little else len(target.splits.train)
            study.say(f"\n{amount}, {similarity} ({target.name}), {images} images:")
            found = {
                name: _chosen(study, amount, similarity, name, kept)
                for name in study.config.recipes
            }
            yield grid_claims.cell(amount, similarity, target.name, images, found)


def _chosen(
    study: Study, amount: str, similarity: str, name: str, kept: dict[Any, Any]
) -> dict[str, Any]:
    """A recipe at its best candidate by the validation part, and what it does on the test part."""
    from cnnlab.report.statistics import over_seeds, percent
    from cnnlab.train import evaluate

    target = study.targets[similarity]
    tried: dict[Candidate, float] = {}
    best: tuple[Candidate, Tuned] | None = None
    seconds = 0.0
    for candidate in candidates(study.config, name, _stages(study.source, target)):
        part = "-".join((amount, similarity, name, candidate.text)).replace(" ", "-")
        found = _tuned(study, amount, target, name, candidate, part, kept)
        if found is None:
            study.say(f"{name}, {candidate.text}: diverged")
            continue
        assert found.validation is not None
        seconds += found.seconds
        tried[candidate] = float(found.validation.mean())
        if best is None or tried[candidate] > tried[best[0]]:
            best = candidate, found
    if best is None:
        raise ValueError(f"{name} diverged at all rates {study.config.rates}: give lower --rates.")
    chosen, tuned = best
    assert tuned.validation is not None
    accuracy = evaluate(tuned.recipe, tuned.states, target.splits.test)["accuracy"]
    figure = over_seeds(accuracy)
    study.say(f"{name}, {chosen.text}: test accuracy {percent(figure)}")
    return {
        "rate": chosen.rate,
        "stage": chosen.stage,
        "test_accuracy": figure,
        "validation_accuracy": over_seeds(tuned.validation),
        "tried": {candidate.text: value for candidate, value in tried.items()},
        "seconds": round(seconds, 1),
    }


def _tuned(
    study: Study,
    amount: str,
    target: Target,
    name: str,
    candidate: Candidate,
    part: str,
    kept: dict[Any, Any],
) -> Tuned | None:
    """One training of all seeds; None if it diverged."""
    from cnnlab.data import Splits
    from cnnlab.train import DivergedError

    config = dataclasses.replace(study.config, learning_rate=candidate.rate, resume=None)
    recipe = _recipe(config, study.source, target, name)
    if candidate.stage is not None:
        recipe = dataclasses.replace(recipe, network=cut(recipe.network, candidate.stage))
    names = recipe.network.names
    variables = {
        collection: {stage: tree[stage] for stage in names if stage in tree}
        for collection, tree in study.variables.items()
    }
    own = target.splits  # without the test part, which is for what was chosen only
    assert own.validation is not None
    blind = Splits(own.train, own.validation, own.validation, own.notes)
    settings: dict[str, Any] = {}
    if amount == AMOUNTS[0]:
        settings["subsets"] = target.repeated
    try:
        return tune(
            "linear" if name == EARLY else name,
            config,
            study.whole,
            part,
            variables,
            blind,
            recipe=recipe,
            kept=kept,
            **settings,
        )
    except DivergedError:
        return None


def _recipe(config: Config, source: "Recipe", target: Target, name: str) -> "Recipe":
    """For the target's classes; its images are prepared as the source's were, but for "scratch"."""
    recipe = make_recipe(config, target.splits.train)
    return recipe if name == "scratch" else dataclasses.replace(recipe, prepare=source.prepare)


def _stages(source: "Recipe", target: Target) -> list[str]:
    from cnnlab.train.state import state_shapes

    params = state_shapes(source, target.splits.train.image_shape).params
    return [name for name in source.network.names if params.get(name)]


def _source(
    config: Config, whole: Whole, recipe: "Recipe", splits: "Splits"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The variables of the source's network, and what result.json says of it."""
    import jax

    from cnnlab.mesh import fetch
    from cnnlab.train import evaluate

    part = train_part(config, whole, "source", recipe, splits.train, seeds=(config.seed,))
    network = part.states.evaluated
    everything = fetch({"params": network.params, **network.model_state})
    about = {
        "classes": splits.train.class_names,
        "images": len(splits.train),
        "test_accuracy": float(evaluate(recipe, part.states, splits.test)["accuracy"][0]),
        "seconds": part.seconds,
    }
    return jax.tree.map(lambda leaf: leaf[0], everything), about


def _check(
    config: Config,
    learning: Config,
    recipe: "Recipe",
    splits: "Splits",
    targets: Mapping[str, Target],
) -> None:
    """Refuses what could not be trained, before anything is written."""
    from cnnlab.data.batches import steps_per_epoch
    from cnnlab.spelling import unknown
    from cnnlab.train import check_fits
    from cnnlab.train.state import state_shapes

    known = (*RECIPES, EARLY)
    for name in config.recipes:
        if name not in known:
            raise ValueError(unknown("recipe", name, known))
    if "scratch" not in config.recipes or len(set(config.recipes)) < max(2, len(config.recipes)):
        raise ValueError(
            "the recipes must be scratch, which the others are compared with, and others, each "
            f"named once, got {', '.join(config.recipes)}."
        )
    if not config.rates or min(config.rates) <= 0 or len(set(config.rates)) < len(config.rates):
        raise ValueError(f"the rates must be different numbers > 0, got {config.rates}.")
    check_fits(recipe, splits.train)
    steps_per_epoch(len(splits.train), learning.batch_size, learning.remainder)
    for target in targets.values():
        stages = _stages(recipe, target)
        for stage in config.early:
            if stage not in stages[:-2]:
                raise ValueError(unknown("earlier stage", stage, stages[:-2]))
        own = _recipe(config, recipe, target, "scratch")
        params = state_shapes(own, target.splits.train.image_shape).params
        for name in (each for each in config.recipes if each != EARLY):
            shares(config, len(rates_of(name, own.network, params)))
        steps_per_epoch(len(target.splits.train), config.batch_size, config.remainder)
        check_fits(own, target.splits.train)
        if EARLY in config.recipes:
            if len(stages) < 3:
                raise ValueError(f"{config.model} has no earlier stage: leave out early.")
            for each in candidates(config, EARLY, stages):
                network = cut(own.network, str(each.stage))
                check_fits(dataclasses.replace(own, network=network), target.splits.train)


# What is drawn --------------------------------------------------------------------------------


def _draw(config: Config, cells: Sequence[Mapping[str, Any]], whole: Whole) -> None:
    import jax

    from cnnlab.report import drawing
    from cnnlab.report import transfer_grid_figures as figures

    if jax.process_index() > 0:
        return
    labels = grid_claims.LABELS
    drawn = {
        (cell["amount"], cell["similarity"]): figures.Cell(
            {labels[n]: each["test_accuracy"]["values"] for n, each in cell["recipes"].items()},
            [labels[cell["recommended"]]],
        )
        for cell in cells
    }
    title = f"{config.model}: half of {config.dataset}, transferred; different: {config.other}"
    figure = figures.transfer_grid(drawn, labels["scratch"], title=title)
    drawing.save(figure, whole.directory / "figures" / "transfer_grid.png")


# The command line ----------------------------------------------------------------------------


def main() -> None:
    """The command line."""
    command_line("experiments.transfer_grid", run, Config(), __doc__)


if __name__ == "__main__":
    main()
