"""A student that learns from a teacher, and from a teacher alone what it was never shown.

Claim: a small network taught by a large one, or by an ensemble, makes fewer errors than one taught
by labels, and knows classes that its transfer set lacked, once their bias is put right.
Published: Hinton, Vinyals & Dean, arXiv 1503.02531, 2015, section 3, MNIST: teacher 67 errors,
student alone 146, distilled (T = 20) 74. Without 3s: 206 errors, 133 of them on the 1,010 3s; with
the bias of class 3 raised by 3.5: 109, 14 on 3s.
Measured: see docs/ensembles.md; of a run, in its result.json and figures/.

    python -m experiments.distill
    python -m experiments.distill --without 3 --temperatures 1 4 20
    python -m experiments.distill --matching logits --unlabelled
    python -m experiments.distill --teacher-run runs/digits-resnet8-1
    python -m experiments.distill --resume runs/distill-digits-1

Hinton's students in some ten minutes of two cores, cut in length, with a convolutional teacher
that costs less than his; only the teacher sees images that were moved:

    python -m experiments.distill --dataset mnist --data-dir DIR --batch-size 128 \
        --teachers 1 --teacher-model lenet5 --teacher-crop 2 --teacher-epochs 20 \
        --teacher-learning-rate 0.05 --model-options "widths=(800,800)" --epochs 10 \
        --temperatures 20 --without 3

and with a teacher such as his, but for the max-norm: --teacher-model mlp
--teacher-model-options "widths=(1200,1200)" dropout=0.5 (and more epochs than that).

Students of a kind are trained in one program, for the same epochs and from the same seeds as those
of other kinds. They have one teacher, and its own variance is not in the intervals: what is
claimed is claimed of its students. Nothing is chosen by the test part, but for the bias that says
so.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import tyro

from experiments import distill_errors, teachers
from experiments.config import Training, load_data, make_recipe
from experiments.parts import Whole, open_whole, train_part
from experiments.resuming import command_line, resumed
from experiments.train import Config as TrainConfig

if TYPE_CHECKING:
    from cnnlab.data import Dataset, Splits
    from cnnlab.losses import TaughtLoss
    from cnnlab.train import Recipe
    from experiments.teachers import Teacher


@dataclasses.dataclass(frozen=True)
class Config(Training):
    """Train a teacher, students alone and students that it teaches, and count their errors.

    Options with "teacher" in their name hold for the teacher in place of those without; all others
    hold for both. The defaults are a quick setting for digits.
    """

    teachers: int = 3
    """Networks of the teacher; several are an ensemble. Their seeds follow the students'."""
    teacher_run: pathlib.Path | None = None
    """The run of experiments.train with the networks of the teacher, instead of training any."""
    teacher_model: str = "resnet8"
    """As --model."""
    teacher_model_options: tuple[str, ...] = ()
    """As --model-options."""
    teacher_epochs: int = 40
    """Passes over the training images."""
    teacher_learning_rate: float = 0.1
    """The highest one."""
    teacher_weight_decay: float = 5e-4
    """On kernels."""
    teacher_crop: int = 1
    """As --crop."""
    teacher_flip: bool = False
    """As --flip."""

    rule: Literal["logits", "probabilities"] = "logits"
    """What is averaged over the networks of the teacher."""
    matching: Literal["soft", "logits"] = "soft"
    """Soft targets, or regression on the logits, the mean over the classes taken off."""
    temperatures: tuple[float, ...] = (4.0,)
    """Of soft targets; students are distilled at each."""
    weight: float = 0.9
    """Of the teacher in the loss; the labels have the rest."""
    teaching: Literal["cached", "live"] = "cached"
    """What the teacher says of each image, or of what the student's augmentation makes of it."""
    unlabelled: bool = False
    """Distilled students are shown no labels: the weight is 1."""
    without: tuple[str, ...] = ()
    """Distil on a transfer set without these classes as well, and put their bias right."""
    control: bool = False
    """With --without: also students that learn the labels of this transfer set."""

    model: str = "mlp"
    model_options: tuple[str, ...] = ("widths=(64,)",)
    """Further settings of the model; of another model than mlp none by default."""
    epochs: int = 100
    crop: int = 0
    weight_decay: float = 0.0
    learning_rate: float = 0.05
    seeds: int = 5
    keep_every: tyro.conf.Suppress[int | None] = None


class Kind(NamedTuple):
    """One way to train students."""

    name: str  # and of its folder
    temperature: float | None  # of the teacher; None for labels alone
    lacking: bool = False  # whether classes are missing


class Classroom(NamedTuple):
    """What all students have in common."""

    config: Config
    whole: Whole
    splits: "Splits"
    teacher: "Teacher"
    missing: list[int]


def run(config: Config) -> dict[str, Any]:
    """Trains as ``config`` says, and writes the run directory.

    Returns:
      What result.json holds: ``teacher`` and ``students`` (kind -> ``errors`` of each seed on the
      test part, ``nll``, ``ece``, ``seconds`` and ``multiply_adds``), ``claims`` and
      ``missing`` (kind -> errors with each bias), as ``distill_errors`` gives them.

    Raises:
      ValueError: for settings that cannot be, with what can.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
      DivergedError: where a loss became NaN or infinite.
    """
    if config.resume is not None:
        config = resumed(config)
    config = teachers.own_options(config)
    splits = load_data(config)
    missing = missing_classes(config, splits.train)
    students = kinds(config, missing)
    given = _checked(config, splits, students)
    whole = open_whole(config, f"distill-{config.dataset}")
    say: Callable[[str], None] = (lambda text: None) if config.quiet else print
    say(f"{splits.notes}\nrun directory: {whole.directory}")
    if given is None:
        say(f"\nthe teacher, {config.teachers} networks:")
        given = teachers.trained(teacher_config(config), whole, splits)
    room = Classroom(config, whole, splits, given, missing)
    judged, put_right = {}, {}
    for kind in students:
        say(f"\n{kind.name}, {config.seeds} seeds:")
        judged[kind.name], found = train_students(room, kind)
        if found is not None:
            put_right[kind.name] = found
    about = {
        "model": config.model,
        "examples": len(splits.test),
        "teacher": judged_teacher(room),
        "students": judged,
        "missing_classes": missing,
        "missing": put_right,
    }
    about["claims"] = distill_errors.compare(about)
    _draw(config, whole, about, splits.test.class_names)
    result = whole.finish("distill", config, splits.notes, about)
    print("\n" + distill_errors.report(result))
    print(f"see {whole.directory}")
    return result


# The teacher ---------------------------------------------------------------------------------


def teacher_config(config: Config) -> TrainConfig:
    """How the teacher is trained: its folder is a run of experiments.train."""
    shared = {field.name: getattr(config, field.name) for field in dataclasses.fields(TrainConfig)}
    own = {
        "model": config.teacher_model,
        "model_options": config.teacher_model_options,
        "epochs": config.teacher_epochs,
        "learning_rate": config.teacher_learning_rate,
        "weight_decay": config.teacher_weight_decay,
        "crop": config.teacher_crop,
        "flip": config.teacher_flip,
        "seeds": config.teachers,
        "seed": config.seed + config.seeds,
    }
    return TrainConfig(**{**shared, **own})


def judged_teacher(room: Classroom) -> dict[str, Any]:
    """The figures of the teacher as one voice, and the accuracy of each of its networks."""
    from cnnlab.train.program import forward_cost

    teacher, test = room.teacher, room.splits.test
    logits = teachers.says(teacher, room.whole, "test", test, rule=room.config.rule)
    networks = len(teacher.states.step)
    return {
        "name": teacher.name,
        **distill_errors.judge(logits[None], test.labels),
        "members": teachers.accuracies(teacher, test),
        "seconds": teacher.seconds,
        "multiply_adds": networks * forward_cost(teacher.recipe, test.image_shape),
    }


def _checked(config: Config, splits: "Splits", students: Sequence[Kind]) -> "Teacher | None":
    """Refuses what cannot be before anything is written; the teacher, where it is a run's."""
    from cnnlab.train import check_fits
    from cnnlab.transfer import live_teacher

    for kind in students:
        if kind.temperature is not None:
            _loss(config, kind.temperature)
    recipe = make_recipe(config, splits.train)
    check_fits(recipe, splits.train)
    if config.teacher_run is not None:
        _check_left_out(config)
        given = teachers.of_run(config.teacher_run, config.data_dir, splits)
        if config.teaching == "live":
            live_teacher([(given.recipe, given.states)], recipe, splits.train)
        return given
    if config.teachers < 1:
        raise ValueError(f"teachers must be at least 1 network, got {config.teachers}.")
    check_fits(make_recipe(teacher_config(config), splits.train), splits.train)
    return None


def _check_left_out(config: Config) -> None:
    """Refuses settings of a teacher's training where none is trained."""
    for field in dataclasses.fields(config):
        if not field.name.startswith("teacher") or field.name == "teacher_run":
            continue
        value = getattr(config, field.name)
        if value != field.default:
            raise ValueError(
                f"a teacher of --teacher-run is trained already, got {field.name} {value!r}. "
                f"Leave out --{field.name.replace('_', '-')} or --teacher-run."
            )


# The students --------------------------------------------------------------------------------


def missing_classes(config: Config, train: "Dataset") -> list[int]:
    """The indices of the classes that are left out of the transfer set.

    Raises:
      ValueError: for an unknown class, or if none is left.
    """
    from cnnlab.data.splits import class_index
    from cnnlab.transfer import without_classes

    if config.control and not config.without:
        raise ValueError("control needs --without: it learns from what is left. Leave it out.")
    if config.without:
        without_classes(train, config.without)
    return sorted({class_index(train, name) for name in config.without})


def kinds(config: Config, missing: Sequence[int]) -> list[Kind]:
    """The ways to train students, in the order in which they are reported."""
    if not config.temperatures:
        raise ValueError("temperatures must be one or more, got none.")
    taught = [Kind("distilled-logits", 1.0)]
    if config.matching == "soft":
        taught = [Kind(f"distilled-T{t:g}", t) for t in dict.fromkeys(config.temperatures)]
    found = [Kind("alone", None), *taught]
    lacking = [*([found[0]] if config.control else []), *taught] if missing else []
    without = "-without-" + "-".join(map(str, missing))
    return found + [Kind(kind.name + without, kind.temperature, True) for kind in lacking]


def train_students(room: Classroom, kind: Kind) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Trains students of a kind: their figures, and those with the bias of missing classes."""
    from cnnlab.train import predict
    from cnnlab.train.program import forward_cost

    splits = room.splits
    recipe, train = lesson(room, kind)
    part = train_part(room.config, room.whole, kind.name, recipe, train, splits.validation)
    logits = predict(recipe, part.states, splits.test)
    figures = {
        **distill_errors.judge(logits, splits.test.labels),
        "seconds": round(part.seconds / room.config.seeds, 2),
        "multiply_adds": forward_cost(recipe, train.image_shape),
    }
    if not kind.lacking:
        return figures, None
    known = None
    if splits.validation is not None:
        known = predict(recipe, part.states, splits.validation)
    return figures, distill_errors.put_right(logits, known, splits, room.missing)


def lesson(room: Classroom, kind: Kind) -> tuple["Recipe", "Dataset"]:
    """How and on what students of a kind are trained."""
    import numpy as np

    from cnnlab.transfer import live_teacher, taught, without_classes

    config, train = room.config, room.splits.train
    if kind.temperature is None:
        train = without_classes(train, room.missing) if kind.lacking else train
        return make_recipe(config, train), train

    voice: dict[str, Any] = {"rule": config.rule, "temperature": kind.temperature}
    live = config.teaching == "live"
    if not live:
        train = taught(train, teachers.says(room.teacher, room.whole, "train", train, **voice))
    if kind.lacking:
        train = without_classes(train, room.missing)
    if config.unlabelled:
        train = dataclasses.replace(train, labels=np.zeros_like(train.labels))
    recipe = make_recipe(config, train)
    recipe = dataclasses.replace(recipe, loss=_loss(config, kind.temperature))
    if live:
        networks = [(room.teacher.recipe, room.teacher.states)]
        says = live_teacher(networks, recipe, train, **voice)
        recipe = dataclasses.replace(recipe, teacher=says)
    return recipe, train


def _loss(config: Config, temperature: float) -> "TaughtLoss":
    from cnnlab import losses

    weight = 1.0 if config.unlabelled else config.weight
    if config.matching == "logits":
        return losses.logits_matching(weight, centred=True, label_smoothing=config.label_smoothing)
    return losses.distillation(temperature, weight, label_smoothing=config.label_smoothing)


# What is drawn -------------------------------------------------------------------------------


def _draw(config: Config, whole: Whole, result: Mapping[str, Any], class_names: Any) -> None:
    import jax

    from cnnlab.report import distill_figures, drawing

    if jax.process_index() > 0:
        return
    folder, title = whole.directory / "figures", f"{config.model} on {config.dataset}"
    rows = {f"teacher: {result['teacher']['name']}": result["teacher"]["errors"]["values"]}
    rows |= {name: each["errors"]["values"] for name, each in result["students"].items()}
    rows |= {
        f"{name}, bias by {way}": each["errors"]["values"]
        for name, ways in result["missing"].items()
        for way, each in ways.items()
        if way != "none"
    }
    examples = result["examples"]
    errors = distill_figures.errors(rows, examples=examples, title=title)
    drawing.save(errors, folder / "errors.png")
    for name, ways in result["missing"].items():
        by_class = {"teacher": result["teacher"]["by_class"]}
        by_class |= {f"bias by {way}": each["by_class"] for way, each in ways.items()}
        figure = distill_figures.by_class(
            by_class,
            class_names,
            missing=result["missing_classes"],
            title=f"{title}, {name}",
        )
        drawing.save(figure, folder / f"by_class-{name}.png")


# The command line ----------------------------------------------------------------------------


def main() -> None:
    """The command line."""
    command_line("experiments.distill", run, Config(), __doc__)


if __name__ == "__main__":
    main()
