"""Photographs, classified with weights from elsewhere."""

import jax
import numpy as np
import PIL.Image
import pytest

from cnnlab import data, models
from cnnlab.models import weights
from cnnlab.studies import trained
from experiments import classify, export

OPTIONS = ("width=2", "norm=group")


def normalised(pixels):
    """As torchvision's networks want it, written out."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return ((pixels / 255 - mean) / std).astype(np.float32)


def test_photographs_are_classified(tmp_path, quick_jit, capsys):
    network = models.create("resnet8", 4, width=2, norm="group")
    start, zeros = models.init.create("he"), np.zeros((1, 8, 8, 3), np.float32)
    variables = quick_jit(lambda key: start(network, key, zeros))(jax.random.key(3))
    file = tmp_path / "resnet8.safetensors"
    weights.save_safetensors(variables, file)
    generator = np.random.Generator(np.random.PCG64(0))
    pixels = generator.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, image in zip(paths, pixels, strict=True):
        PIL.Image.fromarray(image).save(path)
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\ndog\n")
    actual = classify.run(
        classify.Config(
            tuple(paths),
            weights=file,
            model="resnet8",
            model_options=OPTIONS,
            weights_normalization="torchvision",
            image_size=8,
            class_names=tmp_path / "names.txt",
            top=3,
        )
    )
    probabilities = jax.nn.softmax(network.apply(variables, normalised(pixels)))
    for path, row in zip(paths, np.asarray(probabilities), strict=True):
        names = [["ant", "bee", "cat", "dog"][index] for index in np.argsort(-row)[:3]]
        assert [name for name, _ in actual[str(path)]] == names
        np.testing.assert_allclose(
            [p for _, p in actual[str(path)]], np.sort(row)[:0:-1], rtol=1e-4
        )
    assert f"{paths[0]}: {actual[str(paths[0])][0][0]}" in capsys.readouterr().out


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """The file of a run on grey images, and its test images as files."""
    folder = tmp_path_factory.mktemp("exported")
    export.run(export.Config(finished[0], folder / "mlp.safetensors", seed=1))
    test = data.load("synthetic:90:6x6x1:3").test
    paths = []
    for index, image in enumerate(test.images):
        paths.append(folder / f"{index}.png")
        PIL.Image.fromarray(image[:, :, 0]).save(paths[-1])
    return folder / "mlp.safetensors", tuple(paths), test


def test_a_file_of_ours_classifies_images_as_its_run_did(finished, exported):
    file, paths, test = exported
    actual = classify.run(classify.Config(paths, weights=file, top=1))
    right = [
        classes[0][0] == test.class_names[label]
        for classes, label in zip(actual.values(), test.labels, strict=True)
    ]
    assert np.mean(right) == pytest.approx(finished[1]["test"]["accuracy"]["values"][1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"weights_normalization": "torchvision"},
            "normalization of mlp.safetensors is 0.* torchvision",
        ),
        ({"image_size": 8}, "images are 6 x 6, got --image-size 8: leave it out"),
        ({"model": "vgg11"}, "the model of mlp.safetensors is mlp"),
        ({"class_names": "ant\nbee\ncat\n"}, "class0, class1, class2, got .* with ant, bee, cat"),
    ],
)
def test_options_that_contradict_the_file_are_refused(exported, tmp_path, change, message):
    file, paths, _ = exported
    if "class_names" in change:
        (tmp_path / "names.txt").write_text(change["class_names"])
        change = {"class_names": tmp_path / "names.txt"}
    with pytest.raises(ValueError, match=message):
        classify.run(classify.Config(paths[:1], weights=file, top=1, **change))


@pytest.mark.parametrize(
    ("names", "normalization", "message"),
    [
        (None, "unit", "does not say what its classes are: give --class-names"),
        (
            "a\nb\nc\nd\n",
            None,
            "does not say how the images .* were normalised.*--weights-normalization",
        ),
    ],
)
def test_of_an_unknown_file_nothing_is_assumed(names, normalization, message, tmp_path):
    network = models.create("mlp", 4, widths=(3,))
    variables = network.init(jax.random.key(0), np.zeros((1, 4, 4, 3)))
    weights.save_safetensors(variables, tmp_path / "x.safetensors")
    PIL.Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    if names is not None:
        (tmp_path / "names.txt").write_text(names)
    config = classify.Config(
        (tmp_path / "a.png",),
        weights=tmp_path / "x.safetensors",
        model="mlp",
        model_options=("widths=(3,)",),
        image_size=4,
        top=1,
        weights_normalization=normalization,
        class_names=None if names is None else tmp_path / "names.txt",
    )
    with pytest.raises(ValueError, match=message):
        classify.run(config)


def test_a_run_needs_no_other_option(finished, tmp_path):
    """The images of its own test part, as PNG files, are classified as the run scored them."""
    directory, _ = finished
    test = trained.load_run(directory).splits.test
    paths = [tmp_path / f"{i}.png" for i in range(len(test))]
    for path, image in zip(paths, test.images, strict=True):
        PIL.Image.fromarray(image[..., 0]).save(path)
    answers = classify.run(classify.Config((directory, *paths), top=1))
    wanted = trained.load(directory).predict(paths).argmax(axis=1)
    assert [answers[str(path)][0][0] for path in paths] == [test.class_names[i] for i in wanted]


def test_a_run_or_weights_must_be_named(finished, tmp_path):
    photo = tmp_path / "photo.png"
    with pytest.raises(ValueError, match=r"a run directory first, or --weights FILE, got .*photo"):
        classify.run(classify.Config((photo,)))
    with pytest.raises(ValueError, match="one image file or more"):
        classify.run(classify.Config((finished[0],)))
    with pytest.raises(ValueError, match="--class-names: a run says it itself"):
        classify.run(classify.Config((finished[0], photo), class_names=tmp_path / "names.txt"))
