"""A class for every pixel: U-Net on digits in scenes, its losses and its start (segmentation).

Claims: where most pixels are background, a loss that counts overlap (Dice) overlaps more than one
that counts pixels (cross-entropy), and so do both together; with few masks to learn from, an
encoder that was a classifier's is a better start than random weights.
Published: V-Net on PROMISE 2012, Dice 0.869 with the Dice loss and 0.739 with weighted
cross-entropy (Milletari et al., 3DV 2016, table 1); TernausNet, IoU 0.686 with an encoder from
ImageNet and 0.593 from scratch (Iglovikov & Shvets, 2018, section 4).
Measured: see results/segment-*.json (written by this module).

    python -m experiments.segment
    python -m experiments.segment --dataset mnist --data-dir DIR --backgrounds photographs \
        --classes 0 1 2 3 4 --size 48 --scenes 600 --few 30 --single-scenes 1500 \
        --model-options width=8 depth=3 norm=batch
    python -m experiments.segment --dataset mnist --data-dir DIR --backgrounds photographs \
        --size 128 --digits 1 6 --scale 0.15 0.4 --contrast 50 120 --scenes 10000 \
        --few 50 200 1000 10000 --test-scenes 2000 --single-scenes 20000 --classifier-epochs 30 \
        --epochs 40 --batch-size 32 --seeds 5 --model-options width=32 depth=4 norm=batch
    python -m experiments.segment --resume runs/segment-digits-1

Scenes are composed of real digits, see cnnlab.data.scenes: those to learn from of the training
part's, the test scenes of the test part's, and backgrounds are kept apart in the same way. A
classifier whose stages are the U-Net's encoder learns from labels alone, on scenes of one digit;
the U-Nets that begin with it are compared with those from scratch at every number of scenes with
masks, all with as many updates as with all scenes. "Frozen first" trains the decoder alone to begin
with: it is two trainings, together as long as one, each with an optimizer, a warm-up and a schedule
of its own, where the other starts have one of each. All are normalised alike, by the classifier's
scenes. The test scenes are looked at once, at the end of each training; nothing is chosen by them.
IoU is over all pixels of the test scenes, and intervals are over seeds of the networks: the scenes
are the same for all.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import tyro

from experiments.config import load_data, make_recipe
from experiments.parts import fresh_states, open_whole, train_part
from experiments.resuming import command_line, resumed
from experiments.scenes import SceneTraining
from experiments.segment_report import (
    STARTS,
    Study,
    Trained,
    compare,
    draw,
    judged,
    line,
    name_of,
    said,
)
from experiments.segment_scenes import Material, material

if TYPE_CHECKING:
    from cnnlab.train import Recipe, TrainState

LossName = Literal["cross-entropy", "weighted", "dice", "both"]
Start = Literal["scratch", "pretrained", "frozen first"]


@dataclasses.dataclass(frozen=True)
class Config(SceneTraining):
    """Train U-Nets on composed scenes with several losses, and from several starts."""

    few: tuple[int, ...] = (20,)
    """Numbers of scenes at which the starts are compared; none: the losses alone are."""
    single_scenes: int = 240
    """Scenes of one digit, with a label and no mask, that the classifier learns from."""

    losses: tuple[LossName, ...] = ("cross-entropy", "dice", "both")
    """What to compare; weighted is cross-entropy with classes weighted by their rarity."""
    dice: float = 0.5
    """The weight of Dice in the loss both."""
    present: bool = True
    """Whether Dice is the mean of the classes that a scene has, not of all."""
    start_loss: LossName = "both"
    """The loss that the starts are compared with."""
    starts: tuple[Start, ...] = ("scratch", "pretrained", "frozen first")
    """How the U-Nets of the second comparison begin."""
    frozen: float = 0.3
    """The part of the epochs in which the encoder is frozen, where it is frozen first."""
    classifier_epochs: int = 10
    """Passes of the classifier over its scenes."""

    model_options: tuple[str, ...] = ("width=8", "depth=2", "norm=batch")
    """Of the U-Net: width, depth, padding=VALID …"""
    epochs: int = 10
    learning_rate: float = 1e-2
    classes: tuple[str, ...] | None = None
    """Keep these classes only; of digits 0 to 3 by default, which a minute is enough for."""
    model: tyro.conf.Suppress[str] = "unet"

    @property
    def frozen_epochs(self) -> int:
        """In which the encoder is frozen, where it is frozen first."""
        return round(self.frozen * self.epochs)


def run(config: Config) -> dict[str, Any]:
    """Composes the scenes, trains one network after the other, and writes the run directory.

    Returns:
      What result.json holds: ``points`` (for each training the loss, the start, the scenes, and
      IoU, Dice and the part of the pixels that is right, over seeds), ``classifier`` (its test
      accuracy) and ``claims``, as ``compare`` gives them.

    Raises:
      ValueError: for settings that cannot be, with what can.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    if config.resume is not None:
        config = resumed(config)
    if config.dataset == "digits" and config.classes is None:
        config = dataclasses.replace(config, classes=("0", "1", "2", "3"))
    say = (lambda text: None) if config.quiet else print
    check(config)
    scenes = material(config, load_data(config))
    recipes = _recipes(config, scenes)
    whole = open_whole(config, f"segment-{config.dataset}")
    fresh = fresh_states(config, recipes[config.start_loss], scenes.train, config.all_seeds)
    study = Study(config, whole, scenes, recipes, fresh, say)
    say(f"{scenes.notes}\nrun directory: {study.whole.directory}")
    trained = {}
    for each in train_losses(study):
        trained[each.point["name"]] = each
    classifiers = []
    if config.few:
        classifier, begun = train_classifier(study)
        classifiers.append(classifier)
        for each in train_starts(study, begun, trained):
            trained[each.point["name"]] = each
    points = [each.point for each in trained.values()]
    claims = compare(points, config.losses, config.starts if config.few else ())
    draw(study, trained)
    about = {
        "model": config.model,
        "class_names": scenes.train.class_names,
        "pixels": scenes.pixels,
        "points": points,
        "classifier": classifiers[0] if classifiers else None,
        "claims": claims,
        "seconds": round(sum(each["seconds"] for each in (*points, *classifiers)), 1),
    }
    result = study.whole.finish("segment", config, scenes.notes, about)
    print("\n".join(["", *said(result), f"see {study.whole.directory}"]))
    return result


def check(config: Config) -> None:
    """Refuses settings that cannot be, before anything is composed."""
    from cnnlab.losses.dense import segmentation

    segmentation(config.dice)
    for name, chosen in (("losses", config.losses), ("starts", config.starts)):
        if not chosen or len(set(chosen)) != len(chosen):
            raise ValueError(f"{name} must be at least one, each once, got {chosen}.")
    if not 0 < config.frozen < 1 or not 1 <= config.frozen_epochs < config.epochs:
        raise ValueError(
            "frozen must be a part of the epochs in (0, 1) that leaves some on both sides, got "
            f"{config.frozen} of {config.epochs} epochs."
        )
    wrong = [n for n in config.few if not config.batch_size <= n <= config.scenes]
    if wrong or len(set(config.few)) != len(config.few):
        raise ValueError(
            f"few must be different numbers of scenes, from a batch, {config.batch_size}, to all "
            f"of them, {config.scenes}, got {config.few}."
        )


def _recipes(config: Config, scenes: Material) -> dict[str, "Recipe"]:
    """How U-Nets are trained: a recipe for each loss, and for the two phases of frozen first.

    Each is made once: programs are compiled for recipes.

    Raises:
      ValueError: for a network that is no U-Net or cannot take such scenes.
    """
    from cnnlab.losses.dense import pixel_accuracy, segmentation
    from cnnlab.transfer import freeze
    from cnnlab.transfer.segmentation import encoder_stages

    def made(loss: str, epochs: int = config.epochs) -> "Recipe":
        weight = {"dice": 1.0, "both": config.dice}.get(loss, 0.0)
        weights = scenes.class_weights() if loss == "weighted" else None
        return dataclasses.replace(
            make_recipe(dataclasses.replace(config, epochs=epochs), scenes.train),
            loss=segmentation(weight, class_weights=weights, present=config.present),
            score=pixel_accuracy,
        )

    names: dict[str, None] = dict.fromkeys((*config.losses, config.start_loss))
    found = {loss: made(loss) for loss in names}
    network = found[config.start_loss].network
    last = encoder_stages(network)[-1]
    if "frozen first" in config.starts and config.few:
        frozen = made(config.start_loss, config.frozen_epochs)
        found["frozen"] = dataclasses.replace(frozen, rates=freeze(network, up_to=last))
        found["thawed"] = made(config.start_loss, config.epochs - config.frozen_epochs)
    _check_shapes(found[config.start_loss], scenes)
    return found


def _check_shapes(recipe: "Recipe", scenes: Material) -> None:
    """Refuses a network that cannot take such scenes."""
    import jax

    from cnnlab.keys import run_key
    from cnnlab.losses.dense import pixel_accuracy
    from cnnlab.train import init_state
    from cnnlab.train.step import predict_step

    def right(images: Any, masks: Any) -> Any:
        state = init_state(recipe, run_key(0), scenes.train.image_shape)
        return pixel_accuracy(predict_step(recipe, state, images), masks[:, 0, 0], masks)

    two = scenes.train.take([0, len(scenes.train) - 1])
    jax.eval_shape(right, two.images, two.annotations)


# Training ------------------------------------------------------------------------------------


def train_losses(study: Study) -> Iterator[Trained]:
    """From scratch, on all scenes, with each loss."""
    for loss in study.config.losses:
        yield _train(study, loss, "scratch", study.config.scenes)


def train_classifier(study: Study) -> tuple[dict[str, Any], "TrainState"]:
    """The classifiers, one for each seed: their test accuracy, and their states."""
    from cnnlab.report.statistics import over_seeds, percent
    from cnnlab.train import evaluate
    from cnnlab.transfer.segmentation import encoder_classifier

    config, single = study.config, study.scenes.single
    own = dataclasses.replace(config, epochs=config.classifier_epochs)
    recipe = make_recipe(own, single)
    network = encoder_classifier(recipe.network, single.num_classes)
    recipe = dataclasses.replace(recipe, network=network)
    study.say(f"\nclassifier of scenes of one digit, {config.seeds} seeds:")
    part = train_part(own, study.whole, "classifier", recipe, single)
    found = evaluate(recipe, part.states, study.scenes.single_test, batch_size=64)
    accuracy = over_seeds(found["accuracy"])
    study.say(f"test accuracy {percent(accuracy)}, {part.seconds:.0f} s")
    said = {"scenes": len(single), "test_accuracy": accuracy, "seconds": round(part.seconds, 1)}
    return said, part.states


def train_starts(
    study: Study, classifiers: "TrainState", before: Mapping[str, Trained]
) -> Iterator[Trained]:
    """From each start, at each number of scenes; what was trained before is not again."""
    config = study.config
    for scenes in sorted(config.few):
        for start in config.starts:
            if name_of(config.start_loss, start, scenes) not in before:
                yield _train(study, config.start_loss, start, scenes, classifiers)


def _train(
    study: Study, loss: LossName, start: Start, scenes: int, classifiers: Any = None
) -> Trained:
    """One part of the run, or two where the encoder is frozen first."""
    import numpy as np

    from cnnlab.mesh import make_mesh
    from cnnlab.train.state import restarted
    from cnnlab.transfer.segmentation import with_encoders

    mesh = make_mesh(study.config.seeds, member_axis=study.config.member_axis)
    config, recipe, initial, seconds = study.config, study.recipes[loss], study.fresh, 0.0
    name = name_of(loss, start, scenes)
    # An epoch is as long with few scenes: each comes several times.
    train = study.scenes.train.take(np.resize(np.arange(scenes), config.scenes))
    study.say(f"\n{loss}, {STARTS[start]}, {scenes} scenes, {config.seeds} seeds:")
    if start == "pretrained":
        initial, _ = with_encoders(classifiers, recipe, study.fresh, mesh=mesh)
    elif start == "frozen first":
        frozen, recipe = study.recipes["frozen"], study.recipes["thawed"]
        initial, _ = with_encoders(classifiers, frozen, study.fresh, mesh=mesh)
        phase = dataclasses.replace(config, epochs=config.frozen_epochs)
        part = train_part(phase, study.whole, f"{name}-decoder", frozen, train, initial=initial)
        seconds += part.seconds
        config = dataclasses.replace(config, epochs=config.epochs - config.frozen_epochs)
        initial = restarted(recipe, part.states.params, part.states.model_state)
    part = train_part(config, study.whole, name, recipe, train, initial=initial)
    point = {
        "name": name,
        "loss": loss,
        "start": start,
        "scenes": scenes,
        **judged(study.recipes[study.config.start_loss], part.states, study.scenes.test),
        "seconds": round(seconds + part.seconds, 1),
    }
    study.say(line(point))
    return Trained(part.states, point)


# The command line ----------------------------------------------------------------------------


def main() -> None:
    """The command line."""
    command_line("experiments.segment", run, Config(), __doc__)


if __name__ == "__main__":
    main()
