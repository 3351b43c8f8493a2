"""A teacher, students alone and distilled students, and their errors on the test part."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from cnnlab.data import Splits
from cnnlab.studies import build, study, teachers
from cnnlab.studies.settings import drop_default_model_options
from cnnlab.studies.study import Study
from cnnlab.studies.teachers import Teacher
from cnnlab.train import check_fits, predict
from cnnlab.train.program import forward_cost
from cnnlab.transfer import live_teacher

from ..cli import host
from . import figures
from .claims import compare
from .config import Config, Kind, check, student_kinds, teacher_training
from .errors import correct_class_bias, score_errors
from .students import missing_classes, student_loss, student_recipe
from .summary import summary_lines


def run(config: Config) -> dict[str, Any]:
    """Trains the teacher and the students, and writes the run directory.

    Returns:
      The content of result.json: ``teacher`` and ``students`` (kind -> ``errors`` of each seed on
      the test part, ``nll``, ``ece``, ``seconds`` and ``multiply_adds``), ``claims`` and
      ``missing`` (kind -> errors with each bias, as ``correct_class_bias`` gives them).

    Raises:
      ValueError: for invalid settings; the message lists the valid ones.
      Interrupted: after SIGTERM or Ctrl-C; what was trained so far is saved.
      DivergedError: where a loss became NaN or infinite.
    """
    with study.open(drop_default_model_options(config), host()) as s:
        config = s.config
        check(config)
        splits = s.load_data(config)
        missing = missing_classes(config, splits.train)
        kinds = student_kinds(config, missing)
        teacher = _check_trainings(config, splits, kinds)
        s.begin(f"distill-{config.data_name}", splits.notes)
        if teacher is None:
            s.say(f"\nthe teacher, {config.teachers} networks:")
            teacher = teachers.train_teacher(s, teacher_training(config), splits)
        students, corrected = {}, {}
        for kind in kinds:
            s.say(f"\n{kind.name}, {config.seeds} seeds:")
            students[kind.name], biases = train_students(s, kind, teacher, splits, missing)
            if biases is not None:
                corrected[kind.name] = biases
        about = {
            "model": config.model_name,
            "examples": len(splits.test),
            "teacher": score_teacher(s, teacher, splits),
            "students": students,
            "missing_classes": missing,
            "missing": corrected,
        }
        _draw(s, about, splits.test.class_names)
        return s.finish(about, compare(about), summary_lines)


def score_teacher(s: Study[Config], teacher: Teacher, splits: Splits) -> dict[str, Any]:
    """The scores of the teacher's averaged outputs, and the accuracy of each of its networks."""
    test = splits.test
    logits = teachers.cached_teacher_logits(s, teacher, "test", test, rule=s.config.rule)
    networks = len(teacher.states.step)
    return {
        "name": teacher.name,
        **score_errors(logits[None], test.labels),
        "members": teachers.network_accuracies(teacher, test),
        "seconds": teacher.seconds,
        "multiply_adds": networks * forward_cost(teacher.recipe, test.image_shape),
    }


def train_students(
    s: Study[Config], kind: Kind, teacher: Teacher, splits: Splits, missing: Sequence[int]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Trains students of a kind: their scores, and those with the bias of missing classes."""
    recipe, train = student_recipe(s, kind, teacher, splits, missing)
    trained = s.train(kind.name, recipe, train, splits.validation)
    logits = predict(recipe, trained.states, splits.test)
    scored = {
        **score_errors(logits, splits.test.labels),
        "seconds": round(trained.seconds / s.config.seeds, 2),
        "multiply_adds": forward_cost(recipe, train.image_shape),
    }
    if not kind.reduced:
        return scored, None
    validation = None
    if splits.validation is not None:
        validation = predict(recipe, trained.states, splits.validation)
    return scored, correct_class_bias(logits, validation, splits, missing)


def _check_trainings(config: Config, splits: Splits, kinds: Sequence[Kind]) -> Teacher | None:
    """Refuses invalid trainings before anything is written; returns the teacher of a run."""
    for kind in kinds:
        if kind.temperature is not None:
            student_loss(config, kind.temperature)
    recipe = build.make_recipe(config, splits.train)
    check_fits(recipe, splits.train)
    if config.teacher_run is None:
        check_fits(build.make_recipe(teacher_training(config), splits.train), splits.train)
        return None
    teacher = teachers.load_teacher(config.teacher_run, config.data_dir, splits)
    if config.teaching == "live":
        live_teacher(teacher.networks, recipe, splits.train)
    return teacher


def _draw(s: Study[Config], about: Mapping[str, Any], class_names: Sequence[str]) -> None:
    teacher, title = about["teacher"], f"{s.config.model_name} on {s.config.data_name}"
    rows = {f"teacher: {teacher['name']}": teacher["errors"]["values"]}
    rows |= {name: each["errors"]["values"] for name, each in about["students"].items()}
    rows |= {
        f"{name}, bias by {way}": each["errors"]["values"]
        for name, ways in about["missing"].items()
        for way, each in ways.items()
        if way != "none"
    }
    s.save_figure("errors", lambda: figures.errors(rows, examples=about["examples"], title=title))
    for name, ways in about["missing"].items():
        parts = {"teacher": teacher["by_class"]}
        parts |= {f"bias by {way}": each["by_class"] for way, each in ways.items()}
        options = {"missing": about["missing_classes"], "title": f"{title}, {name}"}
        draw = functools.partial(figures.by_class, parts, class_names, **options)
        s.save_figure(f"by_class-{name}", draw)
