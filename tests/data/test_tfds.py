"""Data sets prepared by tensorflow-datasets, read without TensorFlow."""

import io
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from cnnlab.data import fingerprint, load, read_parts
from cnnlab.data.record import DataChangedError, DataRecord

tfds = pytest.importorskip("tensorflow_datasets")


def pixels(i):
    return np.random.default_rng(i).integers(0, 256, (6, 5, 3), np.uint8)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 6\n%%EndComments\nshowpage\n"


class Shapes(tfds.core.GeneratorBasedBuilder):
    """Pictures as PNG; example i of a split is ``pixels(i)``, its label i % 3."""

    VERSION = tfds.core.Version("1.2.0")
    BUILDER_CONFIGS = [  # noqa: RUF012
        tfds.core.BuilderConfig(name="small", version="1.2.0"),
        tfds.core.BuilderConfig(name="uneven", version="1.2.0"),
        tfds.core.BuilderConfig(name="unlabelled", version="1.2.0"),  # the test split
        tfds.core.BuilderConfig(name="hidden", version="1.2.0"),  # every split
        tfds.core.BuilderConfig(name="partly", version="1.2.0"),  # one of the test split
        tfds.core.BuilderConfig(name="hostile", version="1.2.0"),
    ]

    def _info(self):
        kinds = tfds.features
        features = {
            "picture": kinds.Image(shape=(None, None, 3), encoding_format="png"),
            "kind": kinds.ClassLabel(names=["disc", "ring", "star"]),
            "number": kinds.Scalar(np.int64),
            "others": {"first": kinds.Image(), "more": kinds.Sequence(kinds.Image())},
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=kinds.FeaturesDict(features),
            supervised_keys=("picture", "kind"),
        )

    def _split_generators(self, dl_manager):
        splits = {"train": self._examples(0, 30), "test": self._examples(30, 45)}
        if self.builder_config.name == "unlabelled":
            splits["validation"] = self._examples(45, 54)
        return splits

    def _generate_examples(self):
        raise NotImplementedError

    def _examples(self, start, stop):
        for i in range(start, stop):
            odd = self.builder_config.name == "uneven" and i == 7
            data = io.BytesIO()
            Image.fromarray(pixels(i)[: 4 if odd else 6]).save(data, "PNG")
            picture = EPS if self.builder_config.name == "hostile" and i == 7 else data.getvalue()
            label = -1 if i in self._without_label() else i % 3
            others = {"first": EPS, "more": [EPS]}  # of the wrong format, and never read
            yield i, {"picture": picture, "kind": label, "number": i, "others": others}

    def _without_label(self):
        ranges = {"unlabelled": range(30, 45), "hidden": range(45), "partly": range(30, 31)}
        return ranges.get(self.builder_config.name, range(0))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    for config in (each.name for each in Shapes.BUILDER_CONFIGS):
        builder = Shapes(data_dir=folder, config=config, file_format="array_record")
        builder.download_and_prepare()
    return folder


def in_order(data):
    """The numbers of the pictures, which the file stores in the order of a hash."""
    known = {pixels(i).tobytes(): i for i in range(54)}
    return [known[image.tobytes()] for image in data.images[:]]


@pytest.mark.parametrize("memory_limit", [2**30, 0])
def test_images_and_labels_are_read(prepared, memory_limit):
    parts = load("tfds:shapes:small", prepared, validation=None, memory_limit=memory_limit)
    assert isinstance(parts.train.images, np.ndarray) == (memory_limit > 0)
    assert sorted(in_order(parts.train)) == list(range(30))
    assert sorted(in_order(parts.test)) == list(range(30, 45))
    assert parts.train.labels.tolist() == [i % 3 for i in in_order(parts.train)]
    assert parts.train.class_names == ("disc", "ring", "star")
    assert "shapes/small/1.2.0" in parts.notes
    assert "tensorflow" not in sys.modules


def test_images_that_were_prepared_anew_are_others(prepared, tmp_path, monkeypatch):
    options = {"memory_limit": 0, "validation": None}
    record = DataRecord.of(load("tfds:shapes:small", prepared, **options))
    record.find(read_parts("tfds:shapes:small", prepared, memory_limit=0))
    others = pixels
    monkeypatch.setattr(sys.modules[__name__], "pixels", lambda i: others(i + 1000))
    builder = Shapes(data_dir=tmp_path, config="small", file_format="array_record")
    builder.download_and_prepare()
    with pytest.raises(DataChangedError, match="30 of its 30 training images"):
        record.find(read_parts("tfds:shapes:small", tmp_path, memory_limit=0))


def test_lazy_parts_have_fingerprints_of_their_own(prepared):
    parts = load("tfds:shapes:small", prepared, memory_limit=0)
    again = load("tfds:shapes:small", prepared, memory_limit=0)
    assert fingerprint(parts.train) == fingerprint(again.train)
    other = load("tfds:shapes:small", prepared, memory_limit=0, split_seed=1)
    assert fingerprint(parts.train) != fingerprint(other.train)


def test_a_test_split_without_labels_is_passed_over(prepared):
    parts = load("tfds:shapes:unlabelled", prepared, validation=None)
    assert sorted(in_order(parts.test)) == list(range(45, 54))  # the split "validation"
    assert "its split 'test' passed over: no labels, all are -1" in parts.notes
    assert "test is its split 'validation'" in parts.notes


def test_labels_that_are_missing_are_refused(prepared):
    with pytest.raises(ValueError, match="must have labels, but all of 'train' are -1"):
        load("tfds:shapes:hidden", prepared)
    with pytest.raises(ValueError, match=r"labels must be in 0\.\.2 .*got -1 for example"):
        load("tfds:shapes:partly", prepared)


@pytest.mark.parametrize("memory_limit", [2**30, 0])
def test_an_image_of_another_format_is_refused_and_not_run(prepared, memory_limit):
    with pytest.raises(
        ValueError, match=r"hostile.* train, number \d+, cannot be read.*none of the"
    ):
        load("tfds:shapes:hostile", prepared, memory_limit=memory_limit)


def test_images_of_different_sizes_are_refused(prepared):
    with pytest.raises(ValueError, match=r"images must be of one size"):
        load("tfds:shapes:uneven", prepared)


def test_a_config_must_be_named_where_there_are_several(prepared):
    with pytest.raises(ValueError, match="small, uneven, unlabelled"):
        load("tfds:shapes", prepared)


def test_the_only_config_need_not_be_named_and_the_newest_version_is_read(prepared, tmp_path):
    shutil.copytree(prepared / "shapes" / "small", tmp_path / "shapes" / "small")
    shutil.copytree(
        tmp_path / "shapes/small/1.2.0", tmp_path / "shapes/small/1.10.0", dirs_exist_ok=True
    )
    info = tmp_path / "shapes/small/1.10.0/dataset_info.json"
    info.write_text(info.read_text().replace("1.2.0", "1.10.0"))
    assert "shapes/small/1.10.0" in load("tfds:shapes", tmp_path).notes


def test_files_of_another_format_say_how_to_prepare_them(prepared, tmp_path):
    shutil.copytree(prepared / "shapes" / "small", tmp_path / "shapes" / "small")
    info = tmp_path / "shapes/small/1.2.0/dataset_info.json"
    assert "array_record" in info.read_text()
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(ValueError, match=r"(?s)got tfrecord.*builder\('shapes/small"):
        load("tfds:shapes", tmp_path)


def test_a_data_set_that_is_not_prepared_is_refused_with_the_command(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load("tfds:cifar10_corrupted:fog_1", tmp_path)
    message = str(caught.value)
    for part in (
        "tfds.builder('cifar10_corrupted/fog_1'",
        str(tmp_path),
        "file_format='array_record'",
        "downloads the data from its publisher",
        "TensorFlow",
    ):
        assert part in message
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_name_gets_the_nearest(tmp_path):
    with pytest.raises(FileNotFoundError, match="Did you mean 'cifar10"):
        load("tfds:cifar_10", tmp_path)


def test_the_name_must_be_there():
    with pytest.raises(ValueError, match="tfds:NAME"):
        load("tfds")
    with pytest.raises(ValueError, match="data_dir"):
        load("tfds:mnist")


@pytest.mark.parametrize("memory_limit", [2**30, 0])
def test_parts_are_marked(prepared, memory_limit, check_marks):
    check_marks(load("tfds:shapes:small", prepared, memory_limit=memory_limit))
