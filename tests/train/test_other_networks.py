"""Networks that are no classifiers: autoencoders, annotations, activations as data."""

import dataclasses

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import augment, data, models, optim, train
from cnnlab.data import Features
from cnnlab.train.evaluate import as_source
from cnnlab.train.program import init_examples
from cnnlab.transfer import front_features


@pytest.fixture(scope="module")
def dataset():
    return data.load("synthetic:60:4x4x1:3", validation=None).train


def squared(outputs, labels, targets):
    del labels
    return jnp.mean((outputs - targets) ** 2, axis=(1, 2, 3))


def hide(key, images):
    """Half of the pixels become zeros."""
    return images * jax.random.bernoulli(key, 0.5, images.shape)


@pytest.fixture(scope="module")
def recipe():
    return train.Recipe(
        models.dense_autoencoder(1, widths=(6,)),
        optim.create("adam", 0.01),
        augment.to_unit_range(),
        loss=squared,
        corrupt=hide,
        score=None,
    )


def test_inputs_are_corrupted_and_targets_are_not(recipe, dataset):
    *_, last = train.fit(recipe, dataset, dataset, epochs=2, batch_size=20, seeds=(0, 1))
    assert {"train/loss", "validation/loss"} == set(last.metrics)  # nothing is right or wrong
    outputs = train.predict(recipe, last.states, dataset, batch_size=30)
    assert outputs.shape == (2, 60, 4, 4, 1)
    clean = dataset.images / 255
    wanted = ((outputs - clean) ** 2).mean(axis=(1, 2, 3, 4))
    actual = train.evaluate(recipe, last.states, dataset, batch_size=30)
    np.testing.assert_allclose(actual["loss"], wanted, rtol=1e-5)
    # Each image is corrupted in the same way in every batch.
    other = train.predict(recipe, last.states, dataset.take(np.arange(60)[::-1]), batch_size=7)
    np.testing.assert_allclose(other[:, ::-1], outputs, rtol=1e-5, atol=1e-6)
    shown = dataclasses.replace(recipe, corrupt=augment.compose())
    assert np.abs(train.predict(shown, last.states, dataset) - outputs).max() > 1e-3


def test_annotations_are_given_to_loss_and_score_in_evaluation_too(dataset):
    masks = (dataset.images[..., 0] > 128).astype(np.uint8)
    annotated = dataclasses.replace(dataset, annotations=masks)

    def loss(outputs, labels, masks):
        del labels
        return jnp.mean((outputs[..., 0] - masks) ** 2, axis=(1, 2))

    def score(outputs, labels, masks):
        del labels
        return jnp.mean((outputs[..., 0] > 0.5) == masks, axis=(1, 2))

    recipe = train.Recipe(
        models.dense_autoencoder(1, widths=(6,)),
        optim.create("adam", 0.01),
        augment.to_unit_range(),
        loss=loss,
        score=score,
    )
    *_, last = train.fit(recipe, annotated, annotated.take(np.arange(7)), epochs=2, batch_size=20)
    outputs = train.predict(recipe, last.states, annotated)[..., 0]
    actual = train.evaluate(recipe, last.states, annotated, batch_size=25)
    np.testing.assert_allclose(actual["loss"], ((outputs - masks) ** 2).mean(axis=(1, 2, 3)), 1e-5)
    np.testing.assert_allclose(
        actual["accuracy"], ((outputs > 0.5) == masks).mean(axis=(1, 2, 3)), 1e-6
    )
    assert 0 < last.metrics["validation/accuracy"][0] < 1
    with pytest.raises(ValueError, match=r"must take .outputs, labels, targets.*losses.dense"):
        next(train.fit(dataclasses.replace(recipe, loss=lambda a, b: a), annotated, epochs=1))
    flipped = dataclasses.replace(recipe, augment=augment.compose(augment.flip()))
    with pytest.raises(ValueError, match="annotations, such as masks and boxes, would not move"):
        next(train.fit(flipped, annotated, epochs=1))
    with pytest.raises(ValueError, match="would not move"):
        front_features(flipped, last.states, annotated, "stage1", copies=2)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_the_rest_of_a_network_learns_from_activations_resident_or_streamed(tmp_path, dtype):
    generator = np.random.Generator(np.random.PCG64(0))
    labels = np.arange(40, dtype=np.int32) % 2
    activations = (generator.standard_normal((40, 5)) + labels[:, None]).astype(dtype)
    np.save(tmp_path / "features.npy", activations)
    network = models.create("mlp", 2, widths=(5, 4)).tail("stage1")
    assert network.names == ("stage2", "head")
    recipe = train.Recipe(network, optim.sgd(0.1), lambda key, x: x.astype(jnp.float32))
    actual = []
    for images in (activations, np.load(tmp_path / "features.npy", mmap_mode="r")):
        features = Features(images, labels, ("a", "b"), "features").take(np.arange(40))
        assert features.image_shape == (5,) and init_examples(recipe, features).dtype == dtype
        *_, last = train.fit(recipe, features, epochs=2, batch_size=10)
        actual.append(train.predict(recipe, last.states, features))
    assert type(as_source(features, last.states.step.sharding.mesh)).__name__ == "Streamed"
    np.testing.assert_array_equal(*actual)


def test_features_and_annotations_that_do_not_fit_are_refused(dataset):
    with pytest.raises(ValueError, match="float16 or float32 .* got uint8"):
        Features(dataset.images, dataset.labels, dataset.class_names, "pixels")
    with pytest.raises(ValueError, match="one for each of 60 examples, got shape .59, 4, 4"):
        dataclasses.replace(dataset, annotations=np.zeros((59, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="got both"):
        dataclasses.replace(
            dataset,
            annotations=np.zeros((60, 4), np.uint8),
            targets=np.zeros((60, 3), np.float32),
        )
    annotated = dataclasses.replace(dataset, annotations=np.arange(60))
    assert annotated.take([3, -1]).annotations.tolist() == [3, 59]
    prints = {
        data.fingerprint(dataclasses.replace(dataset, annotations=each))
        for each in (None, np.zeros((60, 2, 3)), np.zeros((60, 3, 2)), np.zeros((60, 6), np.int64))
    }
    assert len(prints) == 4
