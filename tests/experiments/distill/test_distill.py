"""Teachers and students: the experiment at tiny size, its recipes, and what it concludes."""

import dataclasses
import json
import pathlib
import re
import types

import jax
import numpy as np
import pytest
from scipy import stats

from cnnlab.ensemble import concatenate_members
from cnnlab.run_directory import ResumeError
from cnnlab.studies import study, teachers
from cnnlab.studies.build import load_data
from cnnlab.studies.settings import drop_default_model_options
from cnnlab.studies.stored import stored_arrays
from cnnlab.train import evaluate, predict, states_of
from cnnlab.transfer import class_bias
from experiments import distill
from experiments.distill import experiment, students
from experiments.distill.claims import compare, compare_with_third
from experiments.distill.config import Kind, student_kinds, teacher_training
from experiments.distill.errors import correct_class_bias
from experiments.distill.students import student_recipe
from experiments.distill.summary import summary_lines

TINY = distill.Config(
    dataset="synthetic:120:6x6x1:3",
    teachers=2,
    teacher_model="mlp",
    teacher_model_options=("widths=(8,)",),
    teacher_epochs=2,
    teacher_crop=0,
    model="linear",
    model_options=(),
    epochs=2,
    batch_size=15,
    seeds=2,
    without=("1",),
    quiet=True,
)
KINDS = ["alone", "distilled-T4", "distilled-T4-without-1"]
TRAIN = study.Study.train
TRAINED = KINDS[2]  # in quick tests, besides the teacher; made students for all others


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with students of which two kinds are not trained, but made."""

    def train_or_make(s, name, recipe, train, validation=None, *, config=None):
        if name in ("teacher", TRAINED):
            return TRAIN(s, name, recipe, train, validation, config=config)
        config = config or s.config
        draw = np.random.default_rng(len(name)).standard_normal
        seeds = [
            {"kernel": draw((36, 3), np.float32), "bias": draw(3, np.float32)}
            for _ in config.all_seeds
        ]
        states = [states_of(recipe, {"params": {"head": {"dense": dense}}}) for dense in seeds]
        return study.Trained(concatenate_members(states), {}, 10, 6.0)

    def predict_alike(recipe, states, part):
        return predict(networks.setdefault(recipe.network, recipe), states, part)

    networks = {}  # programs belong to a recipe: so few are compiled
    directory = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(experiment, "predict", predict_alike)
        patch.setattr(study.Study, "train", train_or_make)
        yield directory, distill.run(dataclasses.replace(TINY, run_dir=directory))


@pytest.fixture(scope="module")
def splits():
    return load_data(TINY)


@pytest.fixture(scope="module")
def teacher(finished, splits):
    """The teacher of the finished run."""
    return teachers.load_teacher(finished[0] / "teacher", None, splits)


@pytest.fixture(scope="module")
def make_student(finished, splits, teacher):
    """Kind -> recipe and data of its students, in the finished run's directory."""

    def cached(path, compute):
        return stored_arrays(finished[0], path, compute, pytest.fail)

    def make(kind, config=TINY):
        s = types.SimpleNamespace(config=config, directory=finished[0], cached=cached)
        return student_recipe(s, kind, teacher, splits, [1])

    return make


def test_a_run_counts_the_errors_of_the_teacher_and_all_kinds_of_students(finished, splits):
    directory, result = finished
    test = splits.test
    assert list(result["students"]) == KINDS and list(result["missing"]) == KINDS[2:]
    logits = np.load(directory / "targets/test.npz")["logits"]
    assert result["teacher"]["errors"]["values"] == [(logits.argmax(1) != test.labels).sum()]
    assert (
        result["teacher"]["name"] == "2 x mlp" and len(result["teacher"]["members"]["values"]) == 2
    )
    lines = (directory / TRAINED / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["epoch"] == 2
    for each in result["students"].values():
        assert len(each["errors"]["values"]) == 2 and each["seconds"] >= 0
        assert each["multiply_adds"] == 36 * 3
    assert result["teacher"]["multiply_adds"] == 2 * (36 * 8 + 8 * 3)
    for path in ("errors.png", "by_class-distilled-T4-without-1.png"):
        assert (directory / "figures" / path).read_bytes().startswith(b"\x89PNG")
    assert json.loads((directory / "result.json").read_text())["claims"] == result["claims"]


@pytest.mark.slow
def test_every_kind_of_students_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr(study.Study, "train", TRAIN)  # in spite of ``finished``
    monkeypatch.setattr(experiment, "predict", predict)
    distill.run(dataclasses.replace(TINY, run_dir=tmp_path / "run"))
    for name in ("teacher", *KINDS):
        lines = (tmp_path / "run" / name / "metrics.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["epoch"] == 2


def test_a_resume_trains_nothing_that_is_finished_and_finds_the_same(finished, monkeypatch):
    directory, result = finished

    def compute_again(*_, **__):
        raise AssertionError("the teacher's logits were computed again")

    monkeypatch.setattr(teachers, "teacher_logits", compute_again)
    again = distill.run(distill.Config(resume=directory, quiet=True))
    for name in KINDS:
        assert again["students"][name]["errors"] == result["students"][name]["errors"]
    assert again["missing"] == result["missing"]


def test_the_teachers_folder_is_a_run_and_its_networks_are_not_the_students(
    finished, teacher, splits
):
    directory, result = finished
    accuracy = evaluate(teacher.recipe, teacher.states, splits.test)["accuracy"]
    np.testing.assert_allclose(accuracy, result["teacher"]["members"]["values"])
    config = json.loads((directory / "teacher/config.json").read_text())
    assert (config["seed"], config["seeds"], config["epochs"]) == (2, 2, 2)
    assert config["model"] == "mlp" and config["weight_decay"] == 5e-4
    own = teacher_training(dataclasses.replace(TINY, teacher_crop=2, teacher_flip=True))
    assert (own.crop, own.flip, own.learning_rate) == (2, True, 0.1)


def test_students_of_a_kind_see_only_their_own_part_of_the_data(
    finished, splits, make_student, monkeypatch
):
    labels = splits.train.labels
    targets = np.load(finished[0] / "targets/train.npz")["logits"]

    recipe, train = make_student(Kind("alone", None))
    assert train is splits.train and recipe.teacher is None

    _, train = make_student(Kind("", 4.0))
    np.testing.assert_array_equal(train.targets, targets)
    np.testing.assert_array_equal(train.labels, labels)

    _, train = make_student(Kind("", 4.0, reduced=True))
    np.testing.assert_array_equal(train.targets, targets[labels != 1])
    np.testing.assert_array_equal(train.labels, labels[labels != 1])

    _, train = make_student(Kind("", None, reduced=True))
    assert train.targets is None and set(train.labels) == {0, 2}

    recipe, train = make_student(Kind("", 4.0), dataclasses.replace(TINY, unlabelled=True))
    assert not train.labels.any()
    logits = np.ones((3, 3), np.float32)
    one, other = (recipe.loss(logits, np.full(3, k), targets[:3]) for k in (0, 1))
    np.testing.assert_array_equal(one, other)

    # A live teacher's logits are not computed before.
    monkeypatch.setattr(students, "cached_teacher_logits", None)
    recipe, train = make_student(Kind("", 4.0), dataclasses.replace(TINY, teaching="live"))
    assert train.targets is None
    images = recipe.prepare(jax.random.key(0), train.images[:8])
    np.testing.assert_allclose(recipe.teacher(images), targets[:8], rtol=1e-4, atol=1e-5)


def test_matched_logits_are_centred(make_student):
    config = dataclasses.replace(TINY, matching="logits", unlabelled=True)
    (_, kind, _) = student_kinds(config, [1])
    assert kind.name == "distilled-logits"
    recipe, train = make_student(kind, config)
    same = train.targets + np.arange(len(train))[:, None]
    np.testing.assert_allclose(recipe.loss(same, train.labels, train.targets), 0, atol=1e-8)


def test_another_model_than_the_default_one_has_its_own_options():
    mlp, other = distill.Config(), distill.Config(model="resnet8")
    assert drop_default_model_options(mlp) == mlp and mlp.model_options
    assert drop_default_model_options(other).model_options == ()
    given = dataclasses.replace(other, model_options=("width=4",))
    assert drop_default_model_options(given) == given


def test_a_resume_with_another_transfer_set_is_refused(finished):
    directory, _ = finished
    with pytest.raises(ResumeError, match="without was .*'1'.*, and is now .*'2'"):
        distill.run(distill.Config(resume=directory, without=("2",)))


def test_kinds_of_students():
    config = dataclasses.replace(TINY, temperatures=(1.0, 2.5, 1.0), control=True)
    assert [tuple(kind) for kind in student_kinds(config, [1])] == [
        ("alone", None, False),
        ("distilled-T1", 1.0, False),
        ("distilled-T2.5", 2.5, False),
        ("alone-without-1", None, True),
        ("distilled-T1-without-1", 1.0, True),
        ("distilled-T2.5-without-1", 2.5, True),
    ]
    assert len(student_kinds(config, [])) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"temperatures": (4.0, 0.0)}, "temperature must be positive"),
        ({"temperatures": ()}, "one or more"),
        ({"weight": 1.5}, r"weight must be in \[0, 1\]"),
        ({"without": ("four",)}, "no class 'four'"),
        ({"without": ("0", "1", "2")}, "no example is left"),
        ({"without": (), "control": True}, "control needs --without"),
        (
            {"teacher_run": pathlib.Path("none")},
            "--teachers, .*: the networks of --teacher-run are trained already. Leave them out",
        ),
        ({"teacher_model": "resent8"}, "Did you mean 'resnet8'"),
        ({"teachers": 0}, "teachers must be at least 1"),
    ],
)
def test_invalid_settings_are_refused_before_anything_is_written(tmp_path, change, message):
    config = dataclasses.replace(TINY, runs=tmp_path / "runs", **change)
    with pytest.raises(ValueError, match=message):
        distill.run(config)
    assert not (tmp_path / "runs").exists()


def test_a_teacher_that_may_have_seen_the_test_part_is_refused(finished, tmp_path):
    directory, _ = finished
    own = {
        field.name: field.default
        for field in dataclasses.fields(TINY)
        if field.name.startswith("teacher")
    }
    own["teacher_run"] = directory / "teacher"
    config = dataclasses.replace(TINY, **own, runs=tmp_path / "runs")
    with pytest.raises(ValueError, match="--teacher-crop: .* are trained already. Leave it out"):
        distill.run(dataclasses.replace(config, teacher_crop=2))
    with pytest.raises(ValueError, match="must have the test part of its students"):
        distill.run(dataclasses.replace(config, dataset="synthetic:150:6x6x1:3"))
    with pytest.raises(ValueError, match="must prepare images as its student does"):
        distill.run(dataclasses.replace(config, teaching="live", normalization="unit"))
    assert not (tmp_path / "runs").exists()


# What is concluded -------------------------------------------------------------------------------


def test_a_missing_class_is_corrected_by_a_bias_of_each_seeds_own(splits):
    """Two seeds whose logits of class 1 are 3 and 5 too low, but otherwise perfect."""

    def shifted(labels):
        perfect = 2.0 * np.eye(3)[labels]
        return np.stack([perfect - np.array([0, lower, 0]) for lower in (3, 5)])

    results = correct_class_bias(
        shifted(splits.test.labels), shifted(splits.validation.labels), splits, [1]
    )
    missing = int((splits.test.labels == 1).sum())
    assert list(results) == ["none", "validation", "frequency", "test"]
    for name in ("errors", "missing_errors"):
        assert results["none"][name]["values"] == [missing, missing]
        assert results["test"][name]["values"] == [0, 0] == results["validation"][name]["values"]
    # Margins are 1 and 5, and 3 and 7: the middles.
    assert results["test"]["bias"]["values"] == [3, 5] == results["validation"]["bias"]["values"]
    assert results["none"]["missing_examples"] == missing
    np.testing.assert_array_equal(results["none"]["by_class"], [[0, 1, 0]] * 2)
    share = np.mean(splits.train.labels == 1)
    logits = shifted(splits.test.labels)
    logits[0, :, 1] += results["frequency"]["bias"]["values"][0]
    assert (logits[0].argmax(1) == 1).mean() == pytest.approx(share, abs=0.5 / len(logits[0]))
    without = correct_class_bias(shifted(splits.test.labels), None, splits, [1])
    assert list(without) == ["none", "frequency", "test"]


def test_the_bias_of_the_experiment_is_that_of_the_library(finished, splits):
    _, result = finished
    ways = result["missing"]["distilled-T4-without-1"]
    part = splits.test
    fewest = ways["test"]["errors"]["values"]
    for way in ways.values():
        assert np.all(np.array(way["errors"]["values"]) >= fewest)
    assert class_bias(np.eye(3)[part.labels], part.labels, [1]).bias == 0


def figures(values):
    return {"errors": {"mean": float(np.mean(values)), "values": list(values)}}


def test_hintons_numbers_are_reproduced_and_close_nine_tenths_of_the_gap():
    alone, distilled = np.array([146.0, 150, 142, 149]), np.array([74.0, 77, 73, 74])
    before, after = np.array([133.0, 140, 130, 128]), np.array([14.0, 16, 13, 14])
    ways = {
        name: {"missing_errors": {"values": list(x)}, "missing_examples": 1010}
        for name, x in (("none", before), ("frequency", after))
    }
    claims = compare(
        {
            "examples": 10_000,
            "teacher": figures([67]),
            "students": {
                "alone": figures(alone),
                "distilled-T20": figures(distilled),
                "distilled-T20-without-3": figures(distilled + 130),
            },
            "missing": {"distilled-T20-without-3": ways},
        }
    )
    fewer, missing = (claim.to_row() for claim in claims)
    assert fewer["mean"] == pytest.approx(np.mean(alone - distilled) / 10_000)
    interval = stats.ttest_1samp((alone - distilled) / 10_000, 0).confidence_interval(0.95)
    np.testing.assert_allclose(fewer["interval"], interval)
    assert fewer["verdict"] == "reproduced" == missing["verdict"]
    assert fewer["gap"]["fraction"] == pytest.approx(72.25 / 79.75)
    assert fewer["third"].startswith("91 % of the gap") and "at least a third" in fewer["third"]
    assert missing["mean"] == pytest.approx(np.mean(before - after) / 1010)
    assert fewer["published"] == pytest.approx(0.0072)
    assert missing["published"] == pytest.approx(119 / 1010)
    assert fewer["note"].startswith("students of one teacher")


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        ({"fraction": None, "interval": None}, "there is no gap"),
        ({"fraction": 0.5, "interval": None}, "50 % .* too few"),
        ({"fraction": 0.5, "interval": [0.3, 0.7]}, "a third or more is not excluded"),
        ({"fraction": 0.1, "interval": [-0.1, 0.3]}, "a third or more is excluded"),
    ],
)
def test_the_part_of_the_gap_in_words(gap, words):
    assert re.search(words, compare_with_third(gap))


def test_only_soft_targets_have_a_published_difference_and_students_alone_no_teacher():
    ways = {
        name: {"missing_errors": {"values": [4, 5]}, "missing_examples": 10}
        for name in ("none", "validation")
    }
    claims = compare(
        {
            "examples": 100,
            "teacher": figures([1]),
            "students": {"alone": figures([9, 8]), "distilled-logits": figures([5, 6])},
            "missing": {"alone-without-3": ways},
        }
    )
    logits, alone = claims
    assert logits.published is None and not logits.source and logits.note
    assert alone.published is None and not alone.note


def test_the_summary_has_a_line_for_each_kind_and_each_bias(finished):
    _, result = finished
    lines = summary_lines(result)
    for start in ("teacher: 2 x mlp", *KINDS, "bias by none", "bias by test"):
        assert any(line.startswith(start) for line in lines)
    gap = next(row["third"] for row in result["claims"] if "third" in row)
    assert f"distilled-T4 makes fewer errors than alone: {gap}" in lines
    assert "T = 4, weight of the teacher 0.9; the teacher: mlp, 2 epochs" in lines[0]


def test_the_kept_result_is_summarised_as_the_page_shows_it():
    kept = pathlib.Path(__file__).parents[3] / "results/distill-mnist.json"
    text = "\n".join(summary_lines(json.loads(kept.read_text())))
    for row in (
        "distilled-T20 +102.6 ± 1.4 +0.0316 ± 0.0005 +0.28 ± 0.02",
        "bias by validation +3.82 ± 0.16 +168.8 ± 3.2 +50.6 ± 5.2",
    ):
        assert re.search(row, text)
    assert "60 % of the gap to the teacher is closed (95 % interval 53 to 65): at least" in text
