"""Networks whose weights are in a file."""

import dataclasses
import hashlib

import jax
import numpy as np
import pytest

from cnnlab import models
from cnnlab.data import Dataset
from cnnlab.data.dataset import Statistics
from cnnlab.data.record import DataRecord, PartRecord
from cnnlab.models import weights
from cnnlab.models.weights import published
from cnnlab.studies import trained, weights_files
from cnnlab.studies.build import make_normalization
from cnnlab.studies.file_description import describe, save_weights
from cnnlab.studies.preparation import Preparation, parse_normalization
from cnnlab.studies.settings import Training, WeightsFile

OPTIONS = ("width=2", "norm=group")


@pytest.fixture(scope="module")
def file(tmp_path_factory, quick_jit):
    network = models.create("resnet8", 4, width=2, norm="group")
    start, zeros = models.init.create("he"), np.zeros((1, 8, 8, 3), np.float32)
    variables = quick_jit(lambda key: start(network, key, zeros))(jax.random.key(3))
    path = tmp_path_factory.mktemp("weights") / "resnet8.safetensors"
    weights.save_safetensors(variables, path)
    return path


def test_caffes_pixels_are_only_centred(file):
    config = WeightsFile(
        weights=file, model="resnet8", model_options=OPTIONS, weights_normalization="caffe"
    )
    prepare = weights_files.load_weights(config, 4, (8, 8, 3)).recipe.prepare
    out = prepare(jax.random.key(0), np.full((1, 1, 1, 3), 200, np.uint8))
    np.testing.assert_allclose(out[0, 0, 0], [77, 83, 96], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "--weights needs --model"),
        ({"model": "resnet20"}, "another network"),
        ({"weights_normalization": "caffe"}, None),
    ],
)
def test_a_file_must_be_of_the_network(file, change, message):
    settings = {"weights": file, "model": "resnet8", "model_options": OPTIONS, **change}
    if message is None:
        networks = weights_files.load_weights(WeightsFile(**settings), 4, (8, 8, 3))
        assert networks.statistics.mean == (123.0, 117.0, 104.0) and networks.config is None
        return
    with pytest.raises(ValueError, match=message):
        weights_files.load_weights(WeightsFile(**settings), 4, (8, 8, 3))


def test_a_file_with_another_head_says_how_many_classes_it_has(file):
    config = WeightsFile(weights=file, model="resnet8", model_options=OPTIONS)
    options = weights_files.OptionNames(classes="--weights-classes")
    with pytest.raises(ValueError, match=r"file has 4 classes, not 7: --weights-classes 4"):
        weights_files.load_weights(config, 7, (8, 8, 3), options=options)


def saved(path, config, statistics, shape=(8, 8, 3), classes=("ant", "bee", "cat", "dog")):
    """A file as an export writes it, of the network of ``file``."""
    network = models.create("resnet8", 4, width=2, norm="group")
    image = jax.ShapeDtypeStruct((1, *shape), np.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image)
    values = np.random.default_rng(0)
    variables = jax.tree.map(lambda s: values.normal(size=s.shape).astype(np.float32), shapes)
    config = dataclasses.replace(config, model="resnet8", model_options=OPTIONS)
    none = PartRecord(np.zeros(0, np.uint64), np.zeros(0, np.int32), by_file=False)
    parts = {"train": none, "test": none}
    record = DataRecord("images", "", tuple(classes), shape, statistics, parts)
    save_weights(path, variables, config, [record], seed="1")
    return WeightsFile(weights=path)


STATISTICS = Statistics(
    (1 / 3, 100.1, 200.7),
    (0.1, 50.3, 60.9),
    np.random.default_rng(1).uniform(0, 255, (8, 8, 3)).astype(np.float32),
    77,
)


@pytest.mark.parametrize("kind", ["channel", "mean-image", "unit"])
def test_a_file_of_ours_prepares_images_as_the_run_did_to_the_bit(kind, tmp_path):
    config = Training(normalization=kind, dataset="folder:/home/me/x", split_seed=3)
    file = saved(tmp_path / "w.safetensors", config, STATISTICS)
    networks = weights_files.load_weights(file)
    dataset = Dataset(
        np.random.default_rng(2).integers(0, 256, (5, 8, 8, 3), np.uint8),
        np.zeros(5, np.int32),
        ("a",),
        "x",
        STATISTICS,
    )
    wanted = make_normalization(config, dataset)(jax.random.key(0), dataset.images)
    actual = networks.recipe.prepare(jax.random.key(0), dataset.images)
    np.testing.assert_array_equal(actual, wanted)
    assert networks.class_names == ("ant", "bee", "cat", "dog")
    assert networks.image_shape == (8, 8, 3) and networks.normalization == kind
    assert describe(file.weights).data["dataset"] == "folder"  # no path of this machine
    assert describe(file.weights).data["split_seed"] == 3
    assert networks.report.loaded == networks.report.total


def test_a_file_of_ours_computes_in_the_precision_of_the_run(tmp_path):
    file = saved(tmp_path / "w.safetensors", Training(precision="bfloat16"), STATISTICS)
    networks = weights_files.load_weights(file)
    features = networks.network.apply(networks.variables, np.zeros((1, 8, 8, 3)), stop="stage1")
    assert features.dtype == jax.numpy.bfloat16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalization": '{"kind": "median"}'}, "the kind 'median'"),
        ({"normalization": '{"kind": "channel", "mean": [1], "std": [0]}'}, "normalization cannot"),
        ({"normalization": '{"kind": "mean-image"}'}, "does not go with the arrays"),
        ({"normalization": "channel"}, "normalization cannot be read"),
        ({"image_shape": "[8, 8]"}, "does not say in its metadata what its network is"),
        ({"image_shape": "[100000, 100000, 3]"}, r"images of shape \(100000, 100000, 3\)"),
        ({"classes": "{"}, "does not say in its metadata what its network is"),
    ],
)
def test_damaged_metadata_are_refused(change, message, tmp_path):
    path = tmp_path / "w.safetensors"
    file = saved(path, Training(), STATISTICS)
    text = {**weights.read_metadata(path), **change}
    weights.save_safetensors({"params": {"x": np.zeros(1)}}, path, text)
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        weights_files.load_weights(file)


def test_a_mean_image_of_another_shape_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    file = saved(path, Training(normalization="mean-image"), STATISTICS)
    arrays = {"preparation": {"mean_image": np.zeros((2, 2, 3), np.float32)}}
    weights.save_safetensors(arrays, path, weights.read_metadata(path))
    with pytest.raises(ValueError, match="a mean image that is not one of shape"):
        weights_files.load_weights(file)


def test_a_normalization_is_a_name_or_numbers():
    mnist = parse_normalization("0.1307/0.3081")
    assert mnist.kind == "channel" and mnist.statistics.mean == (0.1307 * 255,)
    same = parse_normalization("0.485,0.456,0.406/0.229,0.224,0.225")
    assert same.agrees(parse_normalization("torchvision")) and str(same) == "torchvision"
    assert not same.agrees(parse_normalization("caffe"))
    assert str(mnist) == "0.1307/0.3081" and str(parse_normalization("unit")) == "unit"


@pytest.mark.parametrize(
    "text",
    ["torch", "0/255", "0.5", "0.5/", "1.5/1", "0.5/0", "0.5,0.5/1", "nan/1", "0.5/inf", "a/b", ""],
)
def test_other_normalizations_are_refused(text):
    with pytest.raises(ValueError, match="normalization"):
        parse_normalization(text)


# Published files -----------------------------------------------------------------------------


def cifar_names(blocks=1, prefix="module."):
    """The names and shapes of akamaster's residual nets for CIFAR-10."""
    arrays = {"conv1.weight": (16, 3, 3, 3), "linear.weight": (10, 64), "linear.bias": (10,)}
    norms = {"bn1": 16}
    for layer, (before, maps) in enumerate(((16, 16), (16, 32), (32, 64)), start=1):
        for block in range(blocks):
            name = f"layer{layer}.{block}"
            arrays[f"{name}.conv1.weight"] = (maps, maps if block else before, 3, 3)
            arrays[f"{name}.conv2.weight"] = (maps, maps, 3, 3)
            norms |= {f"{name}.bn1": maps, f"{name}.bn2": maps}
    for name, maps in norms.items():
        arrays |= {f"{name}.{k}": (maps,) for k in ("weight", "bias")}
        arrays |= {f"{name}.running_{k}": (maps,) for k in ("mean", "var")}
    return {f"{prefix}{k}": np.ones(s, np.float32) for k, s in arrays.items()}


def test_names_alone_give_the_network_and_ask_for_the_normalization(tmp_path):
    np.savez(tmp_path / "w.npz", **cifar_names())
    file = WeightsFile(weights=tmp_path / "w.npz")
    message = "ResNet-8 for CIFAR-10 of akamaster.*is torchvision. Give --weights-normalization"
    with pytest.raises(ValueError, match=message):
        weights_files.load_weights(file)
    file = dataclasses.replace(
        file, weights_normalization="0.4914,0.4822,0.4465/0.247,0.2435,0.2616"
    )
    networks = weights_files.load_weights(file)
    assert (networks.model, networks.image_shape) == ("resnet8", (32, 32, 3))
    assert networks.class_names == () and networks.report.loaded == networks.report.total


def test_a_published_file_is_known_by_its_digest(tmp_path, monkeypatch):
    np.savez(tmp_path / "w.npz", **cifar_names())
    digest = hashlib.sha256((tmp_path / "w.npz").read_bytes()).hexdigest()[:8]
    monkeypatch.setattr(published, "_DIGESTS", {digest})
    file = WeightsFile(weights=tmp_path / "w.npz")
    networks = weights_files.load_weights(file)
    assert str(Preparation(networks.normalization, networks.statistics)) == "torchvision"
    assert networks.class_names[:3] == ("airplane", "automobile", "bird")
    message = (
        "normalization of w.npz is torchvision .*, got --weights-normalization unit: leave it out"
    )
    with pytest.raises(ValueError, match=message):
        weights_files.load_weights(dataclasses.replace(file, weights_normalization="unit"))


def caffe_squeezenet(classes=1000):
    """The names and shapes of SqueezeNet 1.0 of its authors."""
    shapes = {"conv1": (96, 3, 7, 7), "conv_final": (classes, 512, 1, 1)}
    before = 96
    for fire, maps in enumerate((16, 16, 32, 32, 48, 48, 64, 64), start=2):
        shapes[f"fire{fire}/conv1x1_1"] = (maps, before, 1, 1)
        shapes[f"fire{fire}/conv1x1_2"] = (4 * maps, maps, 1, 1)
        shapes[f"fire{fire}/conv3x3_2"] = (4 * maps, maps, 3, 3)
        before = 8 * maps
    arrays = {f"{name}/w": np.ones(shape, np.float32) for name, shape in shapes.items()}
    return arrays | {f"{name}/b": np.ones(shape[0], np.float32) for name, shape in shapes.items()}


def test_the_authors_squeezenet_is_known_by_its_names(tmp_path):
    np.savez(tmp_path / "w.npz", **caffe_squeezenet())
    networks = weights_files.load_weights(WeightsFile(weights=tmp_path / "w.npz"))
    assert (networks.model, networks.model_options) == ("squeezenet", ("head_padding=1",))
    assert networks.statistics.mean == (123.0, 117.0, 104.0)
    assert networks.image_shape == (227, 227, 3) and len(networks.class_names) == 1000
    np.savez(tmp_path / "w.npz", **caffe_squeezenet(classes=2))  # tuned to others: how?
    assert weights.recognise(tmp_path / "w.npz") is None


@pytest.mark.parametrize(
    ("model", "options", "image"),
    [
        ("resnet18", (), 224),
        ("resnet50", (), 224),
        ("vgg11", (), 224),
        ("vgg16", ("norm=batch",), 224),
        ("alexnet_torchvision", (), 224),
        ("squeezenet", (), 224),
    ],
)
def test_torchvisions_networks_are_recognised_by_their_shapes(model, options, image):
    found = published._torchvision(torchvision_shapes(model, "norm=batch" in options))
    assert (found.model, found.model_options, found.image_shape[0]) == (model, options, image)
    assert found.normalization is None and found.usual == "torchvision"


def torchvision_shapes(model, normed):
    """Some of torchvision's names and shapes, from its documentation and sources."""
    if model.startswith("resnet"):
        counts = {"resnet18": (2, 2, 2, 2), "resnet50": (3, 4, 6, 3)}[model]
        bottleneck = model == "resnet50"
        shapes = {"conv1.weight": (64, 3, 7, 7), "fc.weight": (1000, 2048 if bottleneck else 512)}
        for layer, count in enumerate(counts, start=1):
            for block in range(count):
                maps = 32 * 2**layer
                shapes[f"layer{layer}.{block}.conv1.weight"] = (maps, maps, 1, 1)
                shapes[f"layer{layer}.{block}.conv2.weight"] = (maps, maps, 3, 3)
                if bottleneck:
                    shapes[f"layer{layer}.{block}.conv3.weight"] = (4 * maps, maps, 1, 1)
        return shapes
    if model == "squeezenet":
        shapes = {"features.0.weight": (96, 3, 7, 7), "classifier.1.weight": (1000, 512, 1, 1)}
        return shapes | {"features.12.squeeze.weight": (64, 512, 1, 1)}
    first = (64, 3, 11, 11) if "alexnet" in model else (64, 3, 3, 3)
    count = 5 if "alexnet" in model else int(model[3:]) - 3
    shapes = {f"features.{i}.weight": (64, 64, 3, 3) for i in range(0, 4 * count, 4)}
    shapes |= {"features.0.weight": first, "classifier.6.weight": (1000, 4096)}
    return shapes | ({"features.1.running_mean": (64,)} if normed else {})


def test_a_run_does_not_take_a_published_file_that_sees_other_images(finished, tmp_path):
    np.savez(tmp_path / "w.npz", **caffe_squeezenet())
    networks = trained.load_run(finished[0])
    with pytest.raises(ValueError, match="normalization caffe, mlp of run with 0"):
        weights_files.check_same_network(tmp_path / "w.npz", networks, networks.splits.test)


def test_wider_networks_and_other_classes_are_not_taken_for_them():
    shapes = torchvision_shapes("resnet50", False)
    wide = shapes | {"layer1.0.conv2.weight": (128, 128, 3, 3)}
    assert published._torchvision(wide) is None
    assert published._torchvision(shapes | {"fc.weight": (7, 2048)}) is None
