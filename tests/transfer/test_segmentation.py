"""U-Nets initialised from classifiers, and training on pixels."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import augment, models, optim
from cnnlab.data import Dataset
from cnnlab.keys import run_key
from cnnlab.losses.dense import pixel_accuracy, segmentation
from cnnlab.train import Recipe, fit, init_state, predict
from cnnlab.transfer import freeze
from cnnlab.transfer import segmentation as seg
from cnnlab.transfer.surgery import SurgeryError


def bright(count=20, side=8, seed=0):
    """Noise with a brighter square or darker one somewhere: classes 1 and 2 of a pixel."""
    generator = np.random.Generator(np.random.PCG64(seed))
    images = generator.integers(110, 140, (count, side, side, 1)).astype(np.uint8)
    masks = np.zeros((count, side, side), np.uint8)
    for image, mask in zip(images, masks, strict=True):
        top, left = generator.integers(0, side - 3, 2)
        mask[top : top + 4, left : left + 4] = generator.integers(1, 3)
        image[mask == 1], image[mask == 2] = 230, 20
    names = ("background", "bright", "dark")
    labels = masks.max((1, 2)).astype(np.int32)
    return Dataset(images, labels, names, "bright", annotations=masks)


@pytest.fixture(scope="module")
def recipe():
    network = models.create("unet", num_classes=3, width=4, depth=1, norm="batch")
    return Recipe(
        network,
        optim.adam(0.02),
        augment.normalize((125.0,), (40.0,)),
        loss=segmentation(0.5),
        score=pixel_accuracy,
    )


def states(recipe, seeds, quick_jit):
    start = quick_jit(jax.vmap(lambda seed: init_state(recipe, run_key(seed), (8, 8, 1))))
    return start(jnp.asarray(seeds, jnp.uint32))


@pytest.fixture(scope="module")
def networks(recipe, quick_jit):
    """Classifiers and fresh U-Nets, two of each."""
    network = seg.encoder_classifier(recipe.network, num_classes=2)
    classifier = dataclasses.replace(recipe, network=network)
    return classifier, states(classifier, (5, 6), quick_jit), states(recipe, (0, 1), quick_jit)


def test_every_u_net_has_the_encoder_of_its_own_classifier_and_a_fresh_decoder(
    recipe, networks, quick_jit
):
    classifier, classifiers, fresh = networks
    assert classifier.network.names == ("stem", "stage1", "head")
    actual, report = seg.with_encoders(classifiers, recipe, fresh)
    for collection in ("params", "batch_stats"):
        ours, theirs, own = (
            s.params if collection == "params" else s.model_state[collection]
            for s in (actual, classifiers, fresh)
        )
        for stage in ours:
            wanted = theirs if stage in ("stem", "stage1") else own
            jax.tree.map(np.testing.assert_array_equal, ours[stage], wanted[stage])
    assert all(name.split("/")[0] in ("stem", "stage1") for name in report.copied)
    assert "head/classifier/dense/kernel" in report.left
    # stage1 has the same outputs as the classifier's.
    images = jnp.asarray(bright(2).images, jnp.float32) / 255
    one = {"params": actual.params, **actual.model_state}
    two = {"params": classifiers.params, **classifiers.model_state}
    ours, theirs = (
        quick_jit(functools.partial(net.apply, stop="stage1"))(
            jax.tree.map(lambda x: x[1], v), images
        )[0]
        for net, v in ((recipe.network, one), (classifier.network, two))
    )
    np.testing.assert_array_equal(ours, theirs)


def test_the_optimizer_of_a_frozen_encoder_has_the_decoder_only(recipe, networks):
    _, classifiers, fresh = networks
    frozen = dataclasses.replace(recipe, rates=freeze(recipe.network, up_to="stage1"))
    actual, _ = seg.with_encoders(classifiers, frozen, fresh)
    moments = [leaf for leaf in jax.tree.leaves(actual.opt_state) if jnp.ndim(leaf) == 5]
    decoder = [actual.params[name] for name in ("up1", "head")]
    kernels = [leaf for leaf in jax.tree.leaves(decoder) if leaf.ndim == 5]
    assert len(moments) == 2 * len(kernels)


def test_pixels_are_learned_and_masks_come_out_in_order(recipe):
    train, test = bright(32), bright(18, seed=1)
    for epoch in fit(recipe, train, epochs=15, batch_size=8):
        trained = epoch.states
    actual = seg.predict_masks(recipe, trained, test, batch_size=1)  # chunks of sixteen
    assert actual.shape == (1, 18, 8, 8)
    assert actual.dtype == np.uint8
    assert (actual == test.annotations).mean() > 0.97
    logits = predict(recipe, trained, test, batch_size=1)
    np.testing.assert_array_equal(actual, logits.argmax(-1))


def test_other_networks_are_refused(recipe, networks):
    _, classifiers, fresh = networks
    with pytest.raises(ValueError, match="must be a U-Net.*got the stages stem, stage1"):
        seg.encoder_classifier(models.create("resnet8", num_classes=3), 2)
    one = jax.tree.map(lambda x: x[:1], classifiers)
    with pytest.raises(ValueError, match="got 1 for 2"):
        seg.with_encoders(one, recipe, fresh)
    deeper = models.create("unet", num_classes=3, width=4, depth=2, norm="batch")
    with pytest.raises(SurgeryError, match="stage2"):
        shapes = jax.eval_shape(
            jax.vmap(
                lambda seed: init_state(
                    dataclasses.replace(recipe, network=deeper), run_key(seed), (8, 8, 1)
                )
            ),
            jax.ShapeDtypeStruct((2,), jnp.uint32),
        )
        seg.with_encoders(classifiers, dataclasses.replace(recipe, network=deeper), shapes)
