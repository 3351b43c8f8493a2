"""A classifier becomes a detector: regions of scenes classified and boxed (Girshick, ICCV 2015).

Claims: a detector that begins with a classifier's convolutions and trains them on is better than
one that keeps them as they were, and than one from scratch; correcting the boxes of the regions
makes it better still, and training for it does so even where no box is corrected.
Published: Fast R-CNN with VGG16, PASCAL VOC 2007, mean average precision 66.9 with the
convolutions from conv3_1 on fine-tuned, 61.4 with all frozen (table 5); without box regression
62.6, trained with it but not applied 63.4 (table 6).
Measured: see results/detect-*.json (written by this module).

    python -m experiments.detect
    python -m experiments.detect --dataset mnist --data-dir DIR --size 64 --scenes 400 \
        --test-scenes 300 --cuts 3000 --up-to stage3 --backgrounds photographs --aspects 0.8 0.4 \
        --epochs 15 --classifier-epochs 6
    python -m experiments.detect --dataset mnist --data-dir DIR --size 128 --scenes 10000 \
        --test-scenes 2000 --cuts 60000 --model resnet20 --model-options --up-to stage3 \
        --backgrounds photographs --partly stem stage1 --heights 0.2 0.28 0.4 --scale 0.18 0.45 \
        --aspects 0.8 0.4 --digits 2 6 --hidden 256 --batch-size 32 --epochs 40 --seeds 5
    python -m experiments.detect --resume runs/detect-digits-1

Scenes and cut-outs are composed of real digits, see cnnlab.data.scenes; digits and backgrounds of
the training part and of the test part are kept apart. Regions are the same windows in every scene.
Each seed has a classifier of its own, trained on cut-outs, whose front the detectors of this seed
begin with. All have the same settings, and are normalised alike, by the cut-outs. The test scenes
are looked at once, at the end of each training; nothing is chosen by them.
"""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from experiments import teachers
from experiments.config import load_data, make_recipe
from experiments.detect_claims import compare, draw, found_by, judged, line, said
from experiments.detect_scenes import Material, begun, detector_recipe, material
from experiments.parts import Whole, open_whole, train_part
from experiments.resuming import command_line, resumed
from experiments.scenes import SceneTraining

if TYPE_CHECKING:
    from cnnlab.report.average_precision import Detections
    from cnnlab.train import Recipe, TrainState


@dataclasses.dataclass(frozen=True)
class Config(SceneTraining):
    """Turn a classifier of digits into a detector of digits in scenes, in several ways."""

    scenes: int = 192
    cuts: int = 1600
    """Cut-outs of one digit, with a label and no box, that the classifier learns from."""
    size: int = 32
    digits: tuple[int, int] = (1, 3)
    scale: tuple[float, float] = (0.3, 0.55)

    heights: tuple[float, ...] = (0.35, 0.5)
    """Of the windows, as fractions of the scene's side."""
    aspects: tuple[float, ...] = (0.85, 0.5)
    """Widths of the windows over their heights."""
    step: float = 0.34
    """The largest distance of neighbouring windows over their side."""
    up_to: str = "stage2"
    """The last stage of the classifier that the detector has."""
    bins: int = 3
    """Down and across, that each window is pooled to."""
    pooling: Literal["max", "align"] = "max"
    """The largest feature of each bin, or the mean of interpolated ones."""
    hidden: tuple[int, ...] = (64,)
    """Units of the head's dense layers before the last."""
    box_weight: float = 1.0
    """Of the correction of boxes in the loss."""
    partly: tuple[str, ...] = ()
    """Stages; for each, train one more time with the front frozen up to it."""
    overlaps: tuple[float, ...] = (0.5, 0.75)
    """The IoU from which on a box is right; the claims are about the first."""
    classifier_epochs: int = 10
    """Passes of the classifier over its cut-outs."""

    model_options: tuple[str, ...] = ("width=8",)
    """Further settings of the classifier; of another model than resnet8 none by default."""
    epochs: int = 10
    batch_size: int = 8
    """Scenes in an update; four times as many cut-outs."""
    learning_rate: float = 5e-3

    def of_classifier(self) -> "Config":
        """The config that trains the classifier, whose images are small: four times as many."""
        batch = min(4 * self.batch_size, self.cuts)
        return dataclasses.replace(self, epochs=self.classifier_epochs, batch_size=batch)

    @property
    def cut_side(self) -> int:
        """Of a cut-out in pixels: the largest digit with a little around it."""
        return round(1.2 * self.scale[1] * self.size)

    @property
    def cut_scale(self) -> tuple[float, float]:
        """Of the digits in a cut-out, so that they are as large as in a scene."""
        low, high = (each * self.size / self.cut_side for each in self.scale)
        return low, min(high, 1.0)


class Study(NamedTuple):
    """What all trainings of the experiment have in common."""

    config: Config
    whole: Whole
    scenes: Material
    say: Any


class Trained(NamedTuple):
    """Detectors at the end of their training: what they find in the test scenes.

    Attributes:
      found: by each of M, with the boxes corrected where that was trained.
      points: how good it is; two where the correction was trained: with it applied and without.
    """

    found: "list[Detections]"
    points: list[dict[str, Any]]


def run(config: Config) -> dict[str, Any]:
    """Composes the scenes, trains one network after the other, and writes the run directory.

    Returns:
      What result.json holds: ``points`` (for each detector how it began, what it learned, and its
      average precision over seeds), ``classifier`` (its test accuracy) and ``claims``, as
      ``compare`` gives them.

    Raises:
      ValueError: for settings that cannot be, with what can.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
    """
    if config.resume is not None:
        config = resumed(config)
    config = teachers.own_options(config)
    say = (lambda text: None) if config.quiet else print
    check(config)
    scenes = material(config, load_data(config))
    _check_network(config, scenes)
    study = Study(config, open_whole(config, f"detect-{config.dataset}"), scenes, say)
    say(f"{scenes.notes}\nrun directory: {study.whole.directory}")
    say(f"a window overlaps {scenes.reached:.1%} of the test scenes' digits by half")
    classifier, states = train_classifier(study)
    trained: dict[str, Trained] = {}
    for name, each in train_all(study, states):
        trained[name] = each
        say("\n".join(line(point) for point in each.points))
    points = [point for each in trained.values() for point in each.points]
    claims = compare(points, config.overlaps)
    title = f"{config.model} on scenes of {config.dataset}"
    draw(trained, scenes, config.overlaps, study.whole.directory / "figures", title=title)
    about = {
        "model": config.model,
        "class_names": scenes.train.class_names,
        "windows": {
            "number": len(scenes.windows),
            "reached": scenes.reached,
            "foreground": scenes.foreground,
        },
        "classifier": classifier,
        "points": points,
        "claims": claims,
        "seconds": round(classifier["seconds"] + sum(p["seconds"] for p in points), 1),
    }
    result = study.whole.finish("detect", config, scenes.notes, about)
    print("\n".join(["", *said(result), f"see {study.whole.directory}"]))
    return result


def check(config: Config) -> None:
    """Refuses settings that cannot be, before anything is composed."""
    from cnnlab.transfer.detection import detection_loss

    detection_loss(box_weight=config.box_weight)
    if not config.box_weight:
        raise ValueError("box_weight must be positive: that the boxes matter is one of the claims.")
    wrong = [each for each in config.overlaps if not 0 < each <= 1]
    if wrong or not config.overlaps or len(set(config.overlaps)) != len(config.overlaps):
        raise ValueError(
            f"overlaps must be different numbers in (0, 1], at least one, got {config.overlaps}."
        )
    if config.bins < 1:
        raise ValueError(f"bins must be at least 1, got {config.bins}.")
    if not all(0 < each <= 1 for each in config.heights) or not all(a > 0 for a in config.aspects):
        raise ValueError(
            "heights must be fractions of the scene in (0, 1] and aspects positive, got "
            f"{config.heights} and {config.aspects}."
        )


def _check_network(config: Config, scenes: Material) -> None:
    """Refuses a classifier that cannot become a detector of such scenes."""
    import jax

    from cnnlab.keys import run_key
    from cnnlab.train import check_fits, init_state
    from cnnlab.train.step import predict_step

    check_fits(make_recipe(config.of_classifier(), scenes.cuts), scenes.cuts)
    recipe = detector_recipe(config, scenes.train)

    def judge(images: Any, labels: Any, goals: Any) -> Any:
        state = init_state(recipe, run_key(0), scenes.train.image_shape)
        for rates in _rates(config, recipe).values():
            if rates is not None:
                rates.factors(state.params)
        return recipe.loss(predict_step(recipe, state, images), labels, goals)

    two = scenes.train.take([0, len(scenes.train) - 1])
    jax.eval_shape(judge, two.images, two.labels, two.annotations)


# Training ------------------------------------------------------------------------------------


def train_classifier(study: Study) -> tuple[dict[str, Any], "TrainState"]:
    """The classifiers, one for each seed: their test accuracy, and their states."""
    from cnnlab.report.statistics import over_seeds, percent
    from cnnlab.train import evaluate

    config, cuts = study.config, study.scenes.cuts
    own = config.of_classifier()
    recipe = make_recipe(own, cuts)
    study.say(f"\nclassifier of cut-outs, {config.seeds} seeds:")
    part = train_part(own, study.whole, "classifier", recipe, cuts)
    accuracy = over_seeds(evaluate(recipe, part.states, study.scenes.cuts_test)["accuracy"])
    study.say(f"test accuracy {percent(accuracy)}, {part.seconds:.0f} s")
    said = {"cuts": len(cuts), "test_accuracy": accuracy, "seconds": round(part.seconds, 1)}
    return said, part.states


def train_all(study: Study, classifiers: "TrainState") -> Iterator[tuple[str, Trained]]:
    """The detectors, by the names of their trainings."""
    from cnnlab.transfer.detection import detection_loss

    config, train = study.config, study.scenes.train
    recipe = detector_recipe(config, train)
    for name, rates in _rates(config, recipe).items():
        own = dataclasses.replace(recipe, rates=rates) if rates is not None else recipe
        yield name, _train(study, name, own, classifiers)
    yield "from scratch", _train(study, "from scratch", recipe, None)
    classes_only = dataclasses.replace(recipe, loss=detection_loss(box_weight=0))
    yield "classes only", _train(study, "classes only", classes_only, classifiers, boxes=False)


def _rates(config: Config, recipe: "Recipe") -> dict[str, Any]:
    """Name of a training that begins with the classifiers -> what learns; None is all."""
    from cnnlab.transfer import freeze

    network = recipe.network
    found: dict[str, Any] = {"fine-tuned": None}
    for stage in config.partly:
        found[f"frozen up to {stage}"] = freeze(network, up_to=stage)
    return {**found, "frozen": freeze(network, up_to=config.up_to)}


def _train(
    study: Study, name: str, recipe: "Recipe", classifiers: Any, *, boxes: bool = True
) -> Trained:
    """One part of the run, and what it gives on the test scenes.

    Args:
      study: the experiment.
      name: of the training.
      recipe: of these detectors.
      classifiers: what they begin with, or None.
      boxes: whether they learn to correct boxes.
    """
    from cnnlab.train import predict

    config, scenes = study.config, study.scenes
    settings: dict[str, Any] = {}
    if classifiers is not None:
        settings["initial"] = begun(recipe, classifiers, scenes.train, config)
    study.say(f"\n{name}, {config.seeds} seeds:")
    folder = name.replace(" ", "-")
    part = train_part(config, study.whole, folder, recipe, scenes.train, **settings)
    # Without what differs from training to training, one compiled program serves them all.
    plainly = dataclasses.replace(recipe, rates=None, loss=_no_loss)
    states = part.states._replace(opt_state=())
    outputs = predict(plainly, states, scenes.test, batch_size=64)
    ways = {"applied": True, "not applied": False} if boxes else {"not trained": False}
    found = {how: found_by(outputs, scenes, corrected=ways[how]) for how in ways}
    points = [
        {"name": name, "regression": how, **judged(each, scenes, config.overlaps), "seconds": 0.0}
        for how, each in found.items()
    ]
    points[0]["seconds"] = round(part.seconds, 1)
    return Trained(next(iter(found.values())), points)


def _no_loss(*_: Any) -> Any:
    raise NotImplementedError


# The command line ----------------------------------------------------------------------------


def main() -> None:
    """The command line."""
    command_line("experiments.detect", run, Config(), __doc__)


if __name__ == "__main__":
    main()
