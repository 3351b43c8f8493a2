"""Teachers and students: the experiment at tiny size, its lessons, and what it concludes."""

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
from cnnlab.train import evaluate, predict, states_of
from cnnlab.train.run import ResumeError
from cnnlab.transfer import class_bias
from experiments import distill, distill_errors, parts, teachers
from experiments.config import load_data

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
TRAINED = KINDS[2]  # in quick tests, besides the teacher; made students for all others


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with students of which two kinds are not trained, but made."""

    def train_part(config, whole, name, recipe, train, validation=None, **settings):
        if name == TRAINED:
            return parts.train_part(config, whole, name, recipe, train, validation, **settings)
        draw = np.random.default_rng(len(name)).standard_normal
        seeds = [
            {"kernel": draw((36, 3), np.float32), "bias": draw(3, np.float32)}
            for _ in config.all_seeds
        ]
        states = [states_of(recipe, {"params": {"head": {"dense": dense}}}) for dense in seeds]
        return parts.Part(concatenate_members(states), {}, 10, 6.0)

    def predict_alike(recipe, states, part):
        return predict(networks.setdefault(recipe.network, recipe), states, part)

    networks = {}  # programs belong to a recipe: so few are compiled
    directory = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnnlab.train.predict", predict_alike)
        patch.setattr(distill, "train_part", train_part)
        yield directory, distill.run(dataclasses.replace(TINY, run_dir=directory))


@pytest.fixture(scope="module")
def room(finished):
    """A classroom with the teacher of the finished run."""
    directory, _ = finished
    splits = load_data(TINY)
    teacher = teachers.of_run(directory / "teacher", None, splits)
    whole = types.SimpleNamespace(directory=directory)
    return distill.Classroom(TINY, whole, splits, teacher, [1])


def test_a_run_counts_the_errors_of_the_teacher_and_all_kinds_of_students(finished, room):
    directory, result = finished
    test = room.splits.test
    assert list(result["students"]) == KINDS and list(result["missing"]) == KINDS[2:]
    said = np.load(directory / "targets/test.npy")
    assert result["teacher"]["errors"]["values"] == [(said.argmax(1) != test.labels).sum()]
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
    monkeypatch.setattr(distill, "train_part", parts.train_part)  # in spite of ``finished``
    monkeypatch.setattr("cnnlab.train.predict", predict)
    distill.run(dataclasses.replace(TINY, run_dir=tmp_path / "run"))
    for name in ("teacher", *KINDS):
        lines = (tmp_path / "run" / name / "metrics.jsonl").read_text().splitlines()
        assert json.loads(lines[-1])["epoch"] == 2


def test_a_resume_trains_nothing_that_is_finished_and_finds_the_same(finished, monkeypatch):
    directory, result = finished

    def relabelled(*_, **__):
        raise AssertionError("the teacher was asked again")

    monkeypatch.setattr("cnnlab.transfer.teacher_logits", relabelled)
    again = distill.run(distill.Config(resume=directory, quiet=True))
    for name in KINDS:
        assert again["students"][name]["errors"] == result["students"][name]["errors"]
    assert again["missing"] == result["missing"]


def test_the_teachers_folder_is_a_run_and_its_networks_are_not_the_students(finished, room):
    directory, result = finished
    found = evaluate(room.teacher.recipe, room.teacher.states, room.splits.test)["accuracy"]
    np.testing.assert_allclose(found, result["teacher"]["members"]["values"])
    config = json.loads((directory / "teacher/config.json").read_text())
    assert (config["seed"], config["seeds"], config["epochs"]) == (2, 2, 2)
    assert config["model"] == "mlp" and config["weight_decay"] == 5e-4
    own = distill.teacher_config(dataclasses.replace(TINY, teacher_crop=2, teacher_flip=True))
    assert (own.crop, own.flip, own.learning_rate) == (2, True, 0.1)


def test_a_lesson_shows_what_its_kind_may_see(room, monkeypatch):
    labels = room.splits.train.labels
    said = np.load(room.whole.directory / "targets/train.npy")

    recipe, train = distill.lesson(room, distill.Kind("alone", None))
    assert train is room.splits.train and recipe.teacher is None

    _, train = distill.lesson(room, distill.Kind("", 4.0))
    np.testing.assert_array_equal(train.targets, said)
    np.testing.assert_array_equal(train.labels, labels)

    _, train = distill.lesson(room, distill.Kind("", 4.0, lacking=True))
    np.testing.assert_array_equal(train.targets, said[labels != 1])
    np.testing.assert_array_equal(train.labels, labels[labels != 1])

    _, train = distill.lesson(room, distill.Kind("", None, lacking=True))
    assert train.targets is None and set(train.labels) == {0, 2}

    blind = room._replace(config=dataclasses.replace(TINY, unlabelled=True))
    recipe, train = distill.lesson(blind, distill.Kind("", 4.0))
    assert not train.labels.any()
    logits = np.ones((3, 3), np.float32)
    one, other = (recipe.loss(logits, np.full(3, k), said[:3]) for k in (0, 1))
    np.testing.assert_array_equal(one, other)

    monkeypatch.setattr(teachers, "says", None)  # a live teacher is not asked before
    live = room._replace(config=dataclasses.replace(TINY, teaching="live"))
    recipe, train = distill.lesson(live, distill.Kind("", 4.0))
    assert train.targets is None
    images = recipe.prepare(jax.random.key(0), train.images[:8])
    np.testing.assert_allclose(recipe.teacher(images), said[:8], rtol=1e-4, atol=1e-5)


def test_matched_logits_are_centred(room):
    config = dataclasses.replace(TINY, matching="logits", unlabelled=True)
    (_, kind, _) = distill.kinds(config, [1])
    assert kind.name == "distilled-logits"
    recipe, train = distill.lesson(room._replace(config=config), kind)
    same = train.targets + np.arange(len(train))[:, None]
    np.testing.assert_allclose(recipe.loss(same, train.labels, train.targets), 0, atol=1e-8)


def test_another_model_than_the_default_one_has_its_own_options():
    mlp, other = distill.Config(), distill.Config(model="resnet8")
    assert teachers.own_options(mlp) == mlp and mlp.model_options
    assert teachers.own_options(other).model_options == ()
    given = dataclasses.replace(other, model_options=("width=4",))
    assert teachers.own_options(given) == given


def test_a_resume_with_another_transfer_set_is_refused(finished):
    directory, _ = finished
    with pytest.raises(ResumeError, match="without was .*'1'.*, and is now .*'2'"):
        distill.run(distill.Config(resume=directory, without=("2",)))


def test_kinds_of_students():
    config = dataclasses.replace(TINY, temperatures=(1.0, 2.5, 1.0), control=True)
    assert [tuple(kind) for kind in distill.kinds(config, [1])] == [
        ("alone", None, False),
        ("distilled-T1", 1.0, False),
        ("distilled-T2.5", 2.5, False),
        ("alone-without-1", None, True),
        ("distilled-T1-without-1", 1.0, True),
        ("distilled-T2.5-without-1", 2.5, True),
    ]
    assert len(distill.kinds(config, [])) == 3


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
            "teachers 2. Leave out --teachers or --teacher-run",
        ),
        ({"teacher_model": "resent8"}, "Did you mean 'resnet8'"),
        ({"teachers": 0}, "teachers must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_is_written(tmp_path, change, message):
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
    with pytest.raises(ValueError, match="is trained already, got teacher_crop 2. Leave out"):
        distill.run(dataclasses.replace(config, teacher_crop=2))
    with pytest.raises(ValueError, match="must have the test part of its students"):
        distill.run(dataclasses.replace(config, dataset="synthetic:150:6x6x1:3"))
    with pytest.raises(ValueError, match="must prepare images as its student does"):
        distill.run(dataclasses.replace(config, teaching="live", normalization="unit"))
    assert not (tmp_path / "runs").exists()


# What is concluded -------------------------------------------------------------------------------


def test_a_missing_class_is_put_right_by_a_bias_of_each_seeds_own(room):
    """Two seeds whose logits of class 1 are 3 and 5 too low, but otherwise perfect."""
    splits = room.splits

    def students(labels):
        perfect = 2.0 * np.eye(3)[labels]
        return np.stack([perfect - np.array([0, lower, 0]) for lower in (3, 5)])

    found = distill_errors.put_right(
        students(splits.test.labels), students(splits.validation.labels), splits, [1]
    )
    lacked = int((splits.test.labels == 1).sum())
    assert list(found) == ["none", "validation", "frequency", "test"]
    for name in ("errors", "missing_errors"):
        assert found["none"][name]["values"] == [lacked, lacked]
        assert found["test"][name]["values"] == [0, 0] == found["validation"][name]["values"]
    # Margins are 1 and 5, and 3 and 7: the middles.
    assert found["test"]["bias"]["values"] == [3, 5] == found["validation"]["bias"]["values"]
    assert found["none"]["missing_examples"] == lacked
    np.testing.assert_array_equal(found["none"]["by_class"], [[0, 1, 0]] * 2)
    share = np.mean(splits.train.labels == 1)
    chosen = students(splits.test.labels)
    chosen[0, :, 1] += found["frequency"]["bias"]["values"][0]
    assert (chosen[0].argmax(1) == 1).mean() == pytest.approx(share, abs=0.5 / len(chosen[0]))
    without = distill_errors.put_right(students(splits.test.labels), None, splits, [1])
    assert list(without) == ["none", "frequency", "test"]


def test_the_bias_of_the_experiment_is_that_of_the_library(finished, room):
    _, result = finished
    ways = result["missing"]["distilled-T4-without-1"]
    part = room.splits.test
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
    claims = distill_errors.compare(
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
    fewer, missing = claims.values()
    assert fewer["mean"] == pytest.approx(np.mean(alone - distilled) / 10_000)
    interval = stats.ttest_1samp((alone - distilled) / 10_000, 0).confidence_interval(0.95)
    np.testing.assert_allclose(fewer["interval"], interval)
    assert fewer["verdict"] == "reproduced" == missing["verdict"]
    assert fewer["gap"]["fraction"] == pytest.approx(72.25 / 79.75)
    assert fewer["third"].startswith("91 % of the gap") and "at least a third" in fewer["third"]
    assert missing["mean"] == pytest.approx(np.mean(before - after) / 1010)


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
    assert re.search(words, distill_errors._third(gap))


def test_the_report_has_a_line_for_each_kind_and_each_bias(finished):
    _, result = finished
    text = distill_errors.report(result)
    for start in ("teacher: 2 x mlp", *KINDS, "bias by none", "bias by test", "(students of one"):
        assert any(line.startswith(start) for line in text.splitlines())
