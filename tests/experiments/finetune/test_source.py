"""Trained networks to begin with: whose images they take, what they have seen, what is refused."""

import dataclasses

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

from cnnlab import augment, models
from cnnlab.data import Dataset, LazyImages, Splits
from cnnlab.data.record import DataRecord
from cnnlab.models import Network, weights
from cnnlab.models.perceptron import Classifier
from cnnlab.studies import provenance
from cnnlab.studies.build import load_data
from cnnlab.studies.run_data import check_unseen
from cnnlab.studies.trained import TrainedNetworks
from cnnlab.train import Recipe, states_of
from cnnlab.transfer.surgery import SurgeryError
from experiments import finetune
from experiments.finetune import recommendation, source
from experiments.finetune.source import name_options

WIDTH = ("width=2", "norm=group")
COLOUR = finetune.Config(
    dataset="synthetic:60:8x8x1:3",
    model="resnet8",
    model_options=WIDTH,
    weights_classes=7,
    recipes=("scratch",),
    channels="sum",
)


def noise(shapes):
    """Values in the place of shapes: nothing is compiled."""
    generator = np.random.default_rng(0)
    return jax.tree.map(lambda s: generator.normal(size=s.shape).astype(s.dtype), shapes)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Of a network for images of three channels."""
    network = models.create("resnet8", 7, width=2, norm="group")
    images = jax.ShapeDtypeStruct((1, 8, 8, 3), np.float32)
    variables = noise(jax.eval_shape(network.init, jax.random.key(3), images))
    path = tmp_path_factory.mktemp("weights") / "resnet8.safetensors"
    weights.save_safetensors(variables, path)
    return path


def test_a_network_of_colour_images_can_be_tuned_to_grey_ones(file):
    given = {"weights": file, "weights_classes": 7, "weights_normalization": "torchvision"}
    config = source.resolve_defaults(dataclasses.replace(COLOUR, **given))
    splits = load_data(config)
    network = source.load_pretrained(config, splits)
    assert (
        network.channels == 3
    )  # its normalisation is torchvision's, which grey images cannot have
    assert network.variables["params"]["stem"]["conv"]["kernel"].shape == (3, 3, 3, 2)
    own = source.with_model(config, network.model, network.model_options)
    source.check_transfer(own, network.variables, network.channels, splits)
    unsaid = dataclasses.replace(own, channels=None)
    with pytest.raises(SurgeryError, match="channels differ: --channels sum or --channels adapt"):
        source.check_transfer(unsaid, network.variables, network.channels, splits)
    wider = dataclasses.replace(own, model_options=("width=4", "norm=group"))
    with pytest.raises(SurgeryError, match="start afresh: --reinitialise head stage1 stage2 s"):
        source.check_transfer(wider, network.variables, network.channels, splits)


def test_another_number_of_classes_is_an_error_that_names_the_option(file):
    with pytest.raises(
        ValueError, match="(?s)the file has 7 classes, not 1000: --weights-classes 7"
    ):
        source.load_pretrained(
            dataclasses.replace(COLOUR, weights=file, weights_classes=1000), load_data(COLOUR)
        )


def test_a_head_that_is_replaced_may_hold_nan(file, tmp_path):
    arrays = {name: np.array(value) for name, value in weights.read(file).items()}
    arrays["params/head/classifier/dense/bias"][:] = np.nan
    np.savez(tmp_path / "w.npz", **arrays)
    given = {"weights": tmp_path / "w.npz", "weights_classes": 7, "channels": None}
    given |= {"weights_normalization": "torchvision"}
    config = dataclasses.replace(COLOUR, **given)
    network = source.load_pretrained(config, load_data(COLOUR))
    assert np.isnan(network.variables["params"]["head"]["classifier"]["dense"]["bias"]).all()
    with pytest.raises(
        ValueError, match="NaN or infinity in 1 of .*: params/head/classifier/dense/bias"
    ):
        later = dataclasses.replace(config, reinitialise=("stage3",))
        source.load_pretrained(later, load_data(COLOUR))


def test_how_alike_grey_images_are_is_measured_with_summed_channels(monkeypatch):
    class Stem(nn.Module):
        @nn.compact
        def __call__(self, x, train=False):
            return nn.relu(nn.Conv(3, (3, 3), name="conv")(x)).mean((1, 2))

    network = Network((("stem", Stem()), ("head", Classifier(5))))
    colour = jax.ShapeDtypeStruct((1, 6, 6, 3), np.float32)
    variables = noise(jax.eval_shape(network.init, jax.random.key(0), colour))
    labels = np.arange(40, dtype=np.int32) % 2
    grey = Dataset(np.zeros((40, 6, 6, 1), np.uint8), labels, ("a", "b"), "grey")
    unit = augment.to_unit_range()
    recipe = Recipe(network, optax.identity(), unit)
    trained = TrainedNetworks(recipe, states_of(recipe, variables), "x", "x", (), (6, 6, 3))
    with pytest.raises(SurgeryError, match="input channels differ"):
        recommendation.measure(trained, grey, unit)
    shown = []

    def features(recipe, states, dataset, stages):
        shown.append(states.params["stem"])
        return {"stem": np.zeros((1, 40, 2))}

    monkeypatch.setattr(recommendation, "features", features)
    recommendation.measure(trained, grey, unit, channels="sum")
    copied, fresh = shown
    ours = variables["params"]["stem"]
    np.testing.assert_array_equal(
        copied["conv"]["kernel"][0], ours["conv"]["kernel"].sum(2, keepdims=True)
    )
    np.testing.assert_array_equal(copied["conv"]["bias"][0], ours["conv"]["bias"])
    assert not np.array_equal(fresh["conv"]["kernel"], copied["conv"]["kernel"])


def test_arguments_of_python_are_said_as_options():
    text = 'afresh: reinitialise=("head", "(stage1|stage2)/.*"). Or channels="sum".'
    assert (
        name_options(text) == "afresh: --reinitialise head (stage1|stage2)/.*. Or --channels sum."
    )
    assert name_options('reinitialise=("head",).') == "--reinitialise head."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights_classes": 7}, "--weights-classes: only with --weights"),
        (
            {"mapping": "foo", "weights_normalization": "caffe", "from_run": "a"},
            "--weights-normalization, --mapping: only with --weights",
        ),
        ({"from_run": "a", "model_options": ("width=99",)}, "--model-options: not with --from"),
        ({"from_member": 1}, "--from-member: only with --from"),
        ({"weights": "x", "from_data_dir": "d"}, "--from-data-dir: only with --from"),
        ({"weights": "x", "source_epochs": 1}, "--source-epochs: only where a network is trained"),
    ],
)
def test_options_that_nothing_would_look_at_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        source.resolve_defaults(finetune.Config(**change))


def test_a_run_may_be_named_by_a_string(finished, tiny_config):
    network = provenance.load_unseen_run(str(finished[0]), load_data(tiny_config).test)
    assert network.name == f"mlp of {finished[0].name}, seed 0"


class Files(LazyImages):
    """Named images that are never read, of a size that they are brought to."""

    def __init__(self, names, size):
        self.names, self.shape = names, (len(names), size, size, 1)

    def read(self, index):
        raise AssertionError("decoded")

    def identity(self, indices):
        yield repr(self.shape[1:])
        for i in indices:
            yield self.names[i]


def part(images):
    return Dataset(images, np.zeros(len(images), np.int32), ("a",), "files")


@pytest.mark.parametrize("size", [4, 8])
def test_files_are_distinguished_by_their_names_at_every_size(size):
    splits = Splits(part(Files("abc", 4)), None, part(Files("d", 4)), "")
    own = (DataRecord.of(splits), splits)
    check_unseen(*own, part(Files("def", size)), "it")
    with pytest.raises(ValueError, match="on 1 of the 2"):
        check_unseen(*own, part(Files("db", size)).take(np.array([1, 0])), "it")
    # Decoded ones of another size cannot be compared.
    decoded = Dataset(np.zeros((2, 8, 8, 1), np.uint8), np.zeros(2, np.int32), ("a",), "decoded")
    check_unseen(*own, decoded, "it")
