"""Weights from elsewhere: evaluated on a data set, shown photographs, and handed on."""

import hashlib

import jax
import numpy as np
import PIL.Image
import pytest

from cnnlab import data, models, train
from cnnlab.models import weights
from experiments import classify, evaluate, export
from experiments.config import load_data, make_recipe
from experiments.finished import config_of
from experiments.foreign import Foreign, load_foreign

DATASET = "synthetic:60:8x8x3:4"
OPTIONS = ("width=2", "norm=group")


@pytest.fixture(scope="module")
def network():
    return models.create("resnet8", 4, width=2, norm="group")


@pytest.fixture(scope="module")
def variables(network, quick_jit):
    start = models.init.create("he")
    images = np.zeros((1, 8, 8, 3), np.float32)
    return quick_jit(lambda key: start(network, key, images))(jax.random.key(3))


@pytest.fixture(scope="module")
def file(variables, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "resnet8.safetensors"
    weights.save_safetensors(variables, path)
    return path


def normalised(pixels):
    """As torchvision's networks want it, written out."""
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return ((pixels / 255 - mean) / std).astype(np.float32)


def test_evaluation_of_weights_is_that_of_the_network(network, variables, file, tmp_path, capsys):
    found = evaluate.run(
        evaluate.Config(
            weights=file,
            model="resnet8",
            model_options=OPTIONS,
            dataset=DATASET,
            runs=tmp_path,
        )
    )
    test = data.load(DATASET, validation=None).test
    logits = network.apply(variables, normalised(test.images))
    accuracy = (np.asarray(logits).argmax(-1) == test.labels).mean()
    assert found["accuracy"]["mean"] == pytest.approx(accuracy)
    assert found["examples"] == len(test) and found["step"] is None
    assert found["weights"] == file.name and found["loaded"] == "23 of 23"
    assert found["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert "loaded" in capsys.readouterr().out
    assert len(list(tmp_path.glob("evaluate-*-resnet8-1/figures/*.png"))) == 2


def test_photographs_are_classified(network, variables, file, tmp_path, capsys):
    generator = np.random.Generator(np.random.PCG64(0))
    pixels = generator.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path, image in zip(paths, pixels, strict=True):
        PIL.Image.fromarray(image).save(path)
    (tmp_path / "names.txt").write_text("ant\nbee\ncat\ndog\n")
    found = classify.run(
        classify.Config(
            tuple(paths),
            weights=file,
            model="resnet8",
            model_options=OPTIONS,
            image_size=8,
            class_names=tmp_path / "names.txt",
            top=3,
        )
    )
    probabilities = jax.nn.softmax(network.apply(variables, normalised(pixels)))
    for path, row in zip(paths, np.asarray(probabilities), strict=True):
        names = [["ant", "bee", "cat", "dog"][index] for index in np.argsort(-row)[:3]]
        assert [name for name, _ in found[str(path)]] == names
        np.testing.assert_allclose([p for _, p in found[str(path)]], np.sort(row)[:0:-1], rtol=1e-4)
    assert f"{paths[0]}: {found[str(paths[0])][0][0]}" in capsys.readouterr().out


def test_a_run_takes_no_options_of_weights(finished):
    with pytest.raises(ValueError, match="--model, --normalization: only with --weights"):
        evaluate.run(evaluate.Config(finished[0], model="vgg16", normalization="caffe"))


def test_imagenets_classes_are_where_they_should_be():
    names = weights.imagenet_classes()
    assert len(names) == 1000
    assert [names[i] for i in (0, 309, 310, 985, 999)] == [
        "tench",
        "bee",
        "ant",
        "daisy",
        "toilet tissue",
    ]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": None}, "--weights needs --model"),
        ({"model": "resnet20"}, "another network.*missing from the file"),
        ({"dataset": None}, "needs --dataset"),
        ({"dataset": "synthetic:60:8x8x1:4"}, "3 channels, these have 1.*unit"),
        ({"weights": None}, "a run directory or --weights"),
        ({"model_options": ("width",)}, "NAME=VALUE"),
        ({"best": True, "recalibrate": True}, "--best, --recalibrate: only with a run directory"),
    ],
)
def test_what_does_not_fit_is_told(file, tmp_path, change, said):
    settings = {"weights": file, "model": "resnet8", "model_options": OPTIONS, "dataset": DATASET}
    with pytest.raises(ValueError, match=f"(?s){said}"):
        evaluate.run(evaluate.Config(**{**settings, "runs": tmp_path, **change}))


def test_caffes_pixels_are_only_centred(file):
    config = Foreign(weights=file, model="resnet8", model_options=OPTIONS, normalization="caffe")
    prepare = load_foreign(config, 4, (8, 8, 3)).recipe.prepare
    out = prepare(jax.random.key(0), np.full((1, 1, 1, 3), 200, np.uint8))
    np.testing.assert_allclose(out[0, 0, 0], [77, 83, 96], rtol=1e-6)


def test_a_run_is_exported_as_weights_and_as_a_program(finished, tmp_path):
    directory, _ = finished
    config = config_of(directory)
    splits = load_data(config)
    recipe = make_recipe(config, splits.train)
    with train.run.Run.read(directory) as opened:
        _, states = opened.load(recipe, splits.train.image_shape, members=2)
    wanted = train.predict(recipe, states, splits.test)[1]

    tensors = tmp_path / "weights.safetensors"
    export.run(export.Config(directory, tensors, seed=1))
    loaded, report = weights.load(tensors, {"params": train.member(states, 1).params})
    assert report.loaded == report.total == 4
    images = recipe.prepare(jax.random.key(0), splits.test.images)
    np.testing.assert_allclose(recipe.network.apply(loaded, images), wanted, rtol=1e-5, atol=1e-5)

    program = tmp_path / "program.stablehlo"
    export.run(export.Config(directory, program, seed=1, platforms=("cpu",)))
    call = weights.load_exported(program)
    np.testing.assert_allclose(call(splits.test.images), wanted, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(call(splits.test.images[:1]), wanted[:1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "seed", "said"),
    [
        ("x.pth", 0, ".safetensors or .stablehlo"),
        ("x.safetensors", 7, "0, 1"),
    ],
)
def test_an_export_that_cannot_be_is_told(finished, tmp_path, name, seed, said):
    with pytest.raises(ValueError, match=said):
        export.run(export.Config(finished[0], tmp_path / name, seed=seed))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        export.run(export.Config(finished[0], tmp_path / "nowhere" / "x.safetensors"))
