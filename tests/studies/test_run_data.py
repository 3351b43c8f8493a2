"""A finished run is complete in itself: its statistics, its classes and its parts are its own."""

import dataclasses
import json
import pathlib
import shutil

import numpy as np
import PIL.Image
import pytest

from cnnlab import data
from cnnlab.data.record import DataChangedError
from cnnlab.models import weights
from cnnlab.run_directory import ResumeError
from cnnlab.studies import settings, trained
from cnnlab.studies.file_description import save_weights
from cnnlab.train.checkpoint import CheckpointError
from experiments import average, ensemble, evaluate, export, features, train

CLASSES = ("ant", "bee", "cat")


def add_images(root, start, count=20, mean=0):
    """Images whose class is their brightest channel, darker or brighter by ``mean``."""
    generator = np.random.default_rng(start)
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(start, start + count):
            pixels = generator.integers(0, 120, (5, 5, 3)) + mean
            pixels[..., label] += 40
            image = PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(root / name / f"{i:03}.png")


def folder_config(place):
    """A run in ``place`` on the images in it."""
    return train.Config(
        dataset="folder",
        data_dir=place / "photos",
        model="mlp",
        model_options=("widths=(6,)",),
        epochs=2,
        batch_size=10,
        keep_every=1,
        run_dir=place / "run",
        quiet=True,
    )


@pytest.fixture(scope="module")
def folder_run(tmp_path_factory):
    """A run on a folder of images to which others were added later, and its result."""
    place = tmp_path_factory.mktemp("folder")
    add_images(place / "photos", 0)
    result = train.run(folder_config(place))
    export.run(export.Config(place / "run", place / "before.safetensors"))
    add_images(place / "photos", 500, mean=100)
    return place, result


def test_images_added_later_change_nothing_of_a_finished_run(folder_run):
    place, result = folder_run
    actual = evaluate.run(evaluate.Config(place / "run"))
    assert actual["accuracy"]["values"] == result["test"]["accuracy"]["values"]
    np.testing.assert_allclose(
        actual["loss"]["values"], result["test"]["loss"]["values"], rtol=1e-6
    )
    assert actual["examples"] == 12
    now = data.load("folder", place / "photos")
    networks = trained.load_run(place / "run")
    assert len(now.test) == 24 and now.train.statistics != networks.statistics
    assert networks.statistics.examples == len(networks.splits.train) == 43
    export.run(export.Config(place / "run", place / "after.safetensors"))
    before, after = (weights.read(place / f"{name}.safetensors") for name in ("before", "after"))
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name])
    path = features.run(features.Config(place / "run", to=place / "f.npz"))
    assert len(np.load(path)["labels"]) == 12
    averaged = average.run(average.Config((place / "run",), recalibrate=False))
    assert len(averaged["candidates"]) == 2
    last = averaged["candidates"][-1]["test"]["accuracy"]["values"]
    assert last == result["test"]["accuracy"]["values"]


def test_the_same_folder_under_its_name_is_another_split_and_is_refused(folder_run):
    place, _ = folder_run
    config = evaluate.Config(place / "run", dataset="folder", data_dir=place / "photos")
    with pytest.raises(ValueError, match=r"must not have trained on.*but it has on \d+ of the 24"):
        evaluate.run(config)


def test_a_run_goes_on_with_its_own_images(folder_run, tmp_path):
    """Resumed after images were added, it comes to the bits of a run to which none were."""
    place, result = folder_run
    add_images(tmp_path / "photos", 0)
    stored = json.loads((place / "run" / "config.json").read_text())
    config = folder_config(tmp_path)
    assert stored["epochs"] == config.epochs
    with pytest.MonkeyPatch.context() as patch:  # stopped after its first epoch
        patch.setattr("cnnlab.studies.study.Study.show", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train.run(config)
    add_images(tmp_path / "photos", 500, mean=100)
    again = train.run(train.Config(resume=tmp_path / "run", quiet=True))
    assert again["test"] == result["test"]


def test_images_that_are_gone_are_refused(folder_run, tmp_path):
    place, _ = folder_run
    moved = tmp_path / "moved"
    add_images(moved, 0)
    (moved / "ant" / "003.png").unlink()
    with pytest.raises(DataChangedError, match=r"run in .*run: the data have changed: 1 of its"):
        trained.load_run(place / "run", data_dir=moved)


def test_data_that_moved_are_found_where_they_are(folder_run, tmp_path):
    place, result = folder_run
    add_images(tmp_path / "moved", 0)
    actual = evaluate.run(evaluate.Config(place / "run", data_dir=tmp_path / "moved"))
    assert actual["accuracy"]["values"] == result["test"]["accuracy"]["values"]
    config = average.Config((place / "run",), data_dir=tmp_path / "moved", name="moved")
    assert average.run(config)["averaged"]["test"]


def test_no_data_are_needed_for_an_export(folder_run, tmp_path, monkeypatch):
    place, _ = folder_run
    monkeypatch.setattr(data, "read_parts", lambda *_, **__: pytest.fail("reads the data"))
    export.run(export.Config(place / "run", tmp_path / "net.stablehlo", platforms=("cpu",)))
    assert (tmp_path / "net.stablehlo").stat().st_size > 0


def test_a_run_without_its_record_is_refused(folder_run, tmp_path):
    place, _ = folder_run
    (tmp_path / "config.json").write_text((place / "run" / "config.json").read_text())
    with pytest.raises(ResumeError, match=r"data\.npz is gone"):
        trained.load_run(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    del fields["identity"]  # as an earlier version wrote it
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ResumeError, match=r"has no data\.npz"):
        trained.load_run(tmp_path)


def npz(path, order, seed=0):
    """Images whose class is their brightest channel, with the classes in another order."""
    generator = np.random.default_rng(seed)
    labels = np.arange(90) % 3
    images = generator.integers(0, 120, (90, 5, 5, 3))
    images[np.arange(90), :, :, labels] += 120
    names = np.array(CLASSES)[list(order)]
    numbers = np.argsort(order)[labels]
    np.savez(path, images=images.astype(np.uint8), labels=numbers, class_names=names)
    return path


def npz_config(place, run_dir, **settings):
    """A run on the file of the fixture ``npz_run`` in ``place``."""
    return train.Config(
        dataset=f"npz:{place / 'abc.npz'}",
        model="mlp",
        batch_size=10,
        run_dir=run_dir,
        quiet=True,
        **{"model_options": ("widths=(8,)",), **settings},
    )


@pytest.fixture(scope="module")
def npz_run(tmp_path_factory):
    """A run on classes a b c that tells them apart."""
    place = tmp_path_factory.mktemp("npz")
    npz(place / "abc.npz", (0, 1, 2))
    config = npz_config(place, place / "run", epochs=8)
    return place, train.run(config)["test"]["accuracy"]["mean"]


def test_classes_are_those_of_the_same_name(npz_run):
    place, accuracy = npz_run
    assert accuracy > 0.9
    bca = npz(place / "bca.npz", (1, 2, 0))
    again = evaluate.run(evaluate.Config(place / "run", data_dir=bca))  # the same images
    assert again["accuracy"]["mean"] == accuracy
    npz(place / "others.npz", (1, 2, 0), seed=7)
    others = evaluate.run(evaluate.Config(place / "run", dataset=f"npz:{place / 'others.npz'}"))
    assert others["accuracy"]["mean"] > 0.9
    assert list(others["per_class"]) == list(CLASSES)


def test_other_classes_are_refused_or_taken_by_number(npz_run):
    place, _ = npz_run
    path = npz(place / "seven.npz", (0, 1, 2), seed=7)
    with np.load(path) as stored:
        arrays = dict(stored)
    arrays["class_names"] = np.array(["ant", "bee", "dog"])
    np.savez(path, **arrays)
    config = evaluate.Config(place / "run", dataset=f"npz:{path}")
    with pytest.raises(
        ValueError, match=r"Only the network has cat; only the data have dog.*--match-classes numb"
    ):
        evaluate.run(config)
    by_number = evaluate.run(dataclasses.replace(config, match_classes="number"))
    assert by_number["accuracy"]["mean"] > 0.9 and "dog" in by_number["per_class"]


def test_chosen_classes_are_chosen_by_name_in_other_data(npz_run, tmp_path):
    place, _ = npz_run
    config = npz_config(place, tmp_path / "run", classes=("2", "0"), epochs=6)
    train.run(config)
    others = npz(tmp_path / "others.npz", (1, 2, 0), seed=7)
    actual = evaluate.run(evaluate.Config(tmp_path / "run", dataset=f"npz:{others}"))
    assert list(actual["per_class"]) == ["cat", "ant"]
    assert actual["accuracy"]["mean"] > 0.9


@pytest.mark.parametrize(
    ("names", "chosen", "expected"),
    [
        (("one", "two", "three"), ("2", "0"), "three one"),
        (("1", "2", "0"), ("1", "2"), "2 0"),
        (("0", "1", "2"), ("bee", "cat"), None),
    ],
)
def test_chosen_classes_are_chosen_by_number_only_where_it_is_known(
    npz_run, tmp_path, names, chosen, expected
):
    place, _ = npz_run
    config = npz_config(place, tmp_path / "run", classes=chosen, epochs=1)
    train.run(config)
    path = npz(tmp_path / "others.npz", (0, 1, 2), seed=7)
    with np.load(path) as stored:
        arrays = {**stored, "class_names": np.array(names)}
    np.savez(path, **arrays)
    config = evaluate.Config(tmp_path / "run", dataset=f"npz:{path}", match_classes="number")
    if expected is None:
        with pytest.raises(ValueError, match=r"chose classes by name \(bee, cat\).*not known"):
            evaluate.run(config)
    else:
        assert " ".join(evaluate.run(config)["per_class"]) == expected


def test_other_ranges_of_values_are_warned_of(npz_run, tmp_path):
    place, _ = npz_run
    with np.load(place / "abc.npz") as stored:
        arrays = {**stored, "images": stored["images"] // 16}
    np.savez(tmp_path / "dark.npz", **arrays)
    with pytest.warns(UserWarning, match=r"dark have values of 0 to 1\d, .*had a mean of 99 "):
        evaluate.run(evaluate.Config(place / "run", dataset=f"npz:{tmp_path / 'dark.npz'}"))


def test_a_data_set_without_files_has_no_other_place(tmp_path):
    with pytest.raises(ValueError, match="digits has no files that could be in elsewhere"):
        settings.with_data_dir(train.Config(), pathlib.Path("elsewhere"))
    parts = data.read_parts("digits", tmp_path)
    assert parts.notes == (f"{tmp_path} is not read: digits has no files",)


def test_a_place_in_the_name_is_replaced_by_a_new_one(npz_run, tmp_path):
    place, accuracy = npz_run
    moved = pathlib.Path((place / "abc.npz").rename(tmp_path / "moved.npz"))
    try:
        with pytest.raises(FileNotFoundError, match=r"abc\.npz does not exist"):
            evaluate.run(evaluate.Config(place / "run"))
        actual = evaluate.run(evaluate.Config(place / "run", data_dir=moved))
        assert actual["accuracy"]["mean"] == accuracy
    finally:
        moved.rename(place / "abc.npz")


def test_a_run_with_relative_paths_goes_on_from_anywhere(npz_run, tmp_path, monkeypatch):
    place, _ = npz_run
    monkeypatch.chdir(place)
    config = train.Config(
        dataset="npz:abc.npz",
        model="mlp",
        model_options=("widths=(8,)",),
        epochs=2,
        batch_size=10,
        run_dir=place / "relative",
        quiet=True,
    )
    result = train.run(config)
    assert result["dataset"] == "npz:abc.npz"
    monkeypatch.chdir(tmp_path)
    again = train.run(train.Config(resume=place / "relative", quiet=True))
    assert again["test"] == result["test"] and again["dataset"] == "npz:abc.npz"
    monkeypatch.chdir(place)  # said once more, as it was said
    train.run(train.Config(resume=place / "relative", dataset="npz:abc.npz", quiet=True))
    of = ensemble.Config(of=("run", "relative"), run_dir=place / "of", quiet=True)
    members = ensemble.run(of)["methods"]
    monkeypatch.chdir(tmp_path)
    assert ensemble.run(ensemble.Config(resume=place / "of", quiet=True))["methods"] == members


# Another run's files, and networks with a history --------------------------------------------


@pytest.fixture(scope="module")
def other_run(npz_run):
    """A run on the same images, split otherwise, of a network with another activation."""
    place, _ = npz_run
    config = npz_config(
        place,
        place / "other",
        split_seed=1,
        model_options=("widths=(8,)", "activation=tanh"),
        epochs=1,
    )
    train.run(config)
    return place / "other"


def test_the_record_of_another_run_is_refused(npz_run, other_run, tmp_path):
    place, _ = npz_run
    copy = tmp_path / "copy"
    shutil.copytree(place / "run", copy)
    shutil.copy(other_run / "data.npz", copy)
    for read in (trained.load, trained.load_run, trained.load_data):
        with pytest.raises(ResumeError, match=r"data\.npz was changed .* that of another run"):
            read(copy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("widths=(8,)", "activation=tanh"), "activation=tanh.* that of mlp of run is mlp widths"),
        (("widths=(8,)",), r"network of w\.safetensors must not have trained on"),
    ],
)
def test_a_file_of_another_network_is_no_weights_of_a_run(
    npz_run, other_run, tmp_path, options, message
):
    place, _ = npz_run
    networks = trained.load(other_run)
    config = dataclasses.replace(networks.config, model_options=options)
    own = trained.load(place / "run").statistics
    records = [dataclasses.replace(networks.records[0], statistics=own)]
    file = tmp_path / "w.safetensors"
    save_weights(file, networks.variables, config, records)
    with pytest.raises(ValueError, match=message):
        evaluate.run(evaluate.Config(place / "run", weights=file))


def test_what_a_network_began_with_is_not_forgotten(npz_run, other_run):
    """A network that began with one of another split has seen images of this one's test part."""
    place, _ = npz_run
    own = trained.load_run(place / "run")
    own.check_unseen(own.splits.test)
    later = dataclasses.replace(own, records=(*own.records, *trained.load(other_run).records))
    with pytest.raises(ValueError, match="what mlp of run began with must not have trained on"):
        later.check_unseen(own.splits.test)


def test_features_have_the_labels_of_the_network(npz_run, tmp_path):
    place, _ = npz_run
    others = npz(tmp_path / "others.npz", (1, 2, 0), seed=7)
    config = features.Config(
        place / "run", ("head",), dataset=f"npz:{others}", to=tmp_path / "f.npz"
    )
    with np.load(features.run(config)) as arrays:
        assert tuple(arrays["class_names"]) == CLASSES
        logits = arrays["head"].reshape(len(arrays["labels"]), 3)
        assert (logits.argmax(axis=1) == arrays["labels"]).mean() > 0.9


def test_evaluations_of_data_of_one_name_have_files_of_their_own(npz_run, tmp_path):
    place, _ = npz_run
    before = set(place.glob("run/evaluate-*.json"))
    for seed in (7, 8):
        (tmp_path / str(seed)).mkdir()
        others = npz(tmp_path / str(seed) / "n.npz", (0, 1, 2), seed=seed)
        evaluate.run(evaluate.Config(place / "run", dataset=f"npz:{others}"))
    assert len(set(place.glob("run/evaluate-*.json")) - before) == 2


def test_a_run_and_its_copy_are_no_two_members(npz_run, tmp_path):
    place, _ = npz_run
    copy = shutil.copytree(place / "run", tmp_path / "copy")
    config = ensemble.Config(of=(place / "run", copy), run_dir=tmp_path / "of", quiet=True)
    with pytest.raises(ValueError, match=r"copy is the run .*run, or a copy of it\. Leave one out"):
        ensemble.run(config)


def test_an_exported_network_is_not_tested_on_changed_images(folder_run, tmp_path):
    place, _ = folder_run
    changed = shutil.copytree(place / "photos", tmp_path / "photos")
    for file in changed.rglob("*.png"):
        with PIL.Image.open(file) as image:
            pixels = np.asarray(image)
        PIL.Image.fromarray(pixels // 2).save(file)
    config = evaluate.Config(weights=place / "before.safetensors", data_dir=changed, runs=tmp_path)
    with pytest.raises(ValueError, match="the data have changed.*For other data: --dataset folder"):
        evaluate.run(config)
    with pytest.warns(UserWarning, match="trained and tested on other images than these"):
        evaluate.run(dataclasses.replace(config, dataset="folder"))


def test_a_run_that_is_not_finished_is_said_or_refused(npz_run, tmp_path, capsys):
    place, _ = npz_run
    copy = tmp_path / "copy"
    shutil.copytree(place / "run", copy)
    (copy / "result.json").unlink()
    evaluate.run(evaluate.Config(copy))
    assert "copy is not finished: these are its latest networks" in capsys.readouterr().out
    config = ensemble.Config(of=(place / "run", copy), run_dir=tmp_path / "of", quiet=True)
    with pytest.raises(CheckpointError, match=r"must be finished.*--missing skip"):
        ensemble.run(config)


def test_one_data_set_in_two_sizes_cannot_be_compared_and_warns(npz_run):
    place, _ = npz_run
    own = trained.load_run(place / "run")
    larger = np.zeros((2, 7, 7, 3), np.uint8)
    test = dataclasses.replace(own.splits.test.take([0, 1]), images=larger)
    with pytest.warns(UserWarning, match="is not known: it was trained on"):
        own.check_unseen(test)
    with pytest.warns(UserWarning, match="is not known: it was trained on .* tested on copy at"):
        own.check_unseen(dataclasses.replace(test, name="copy"))
