"""Features of stages: the outputs of a network, pooled, and files of them."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import augment, models, optim
from cnnlab.data.dataset import Dataset
from cnnlab.train import Recipe, step
from cnnlab.train.state import restarted
from cnnlab.transfer import features as module
from cnnlab.transfer.features import features, load_features, pixels, save_features

GENERATOR = np.random.default_rng(0)
DATASET = Dataset(
    GENERATOR.integers(0, 256, (11, 8, 6, 1), dtype=np.uint8),
    GENERATOR.integers(0, 2, 11, dtype=np.int32),
    ("ant", "bee"),
    "made",
)


def made(network, members=2):
    recipe = Recipe(network, optim.sgd(0.1), augment.normalize((128.0,), (64.0,)))
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 8, 6, 1)))
    noisy = jax.tree.map(
        lambda leaf: jnp.asarray(GENERATOR.normal(size=(members, *leaf.shape)) ** 2, jnp.float32),
        dict(shapes),
    )
    return recipe, restarted(recipe, noisy.pop("params"), noisy)


@pytest.fixture(scope="module")
def lenet():
    return made(models.create("lenet5", 2, padding="SAME"))


def by_hand(lenet, member, stage):
    recipe, states = lenet
    params = jax.tree.map(lambda leaf: leaf[member], states.params)
    images = (DATASET.images.astype(np.float32) - 128) / 64
    run = jax.jit(lambda params: recipe.network.apply({"params": params}, images, stop=stage))
    return np.asarray(run(params))


def test_features_are_the_outputs_of_each_stage(monkeypatch, lenet):
    monkeypatch.setattr(step, "CACHE_BYTES", 1)  # in parts, as for a processor's cache
    actual = features(*lenet, DATASET, pool=None, batch_size=16)
    assert tuple(actual) == lenet[0].network.names
    for stage, got in actual.items():
        wanted = by_hand(lenet, 1, stage)
        np.testing.assert_allclose(got[1], wanted, rtol=1e-4, atol=1e-4 * wanted.max())


def test_images_are_pool_to_means_or_cells(lenet):
    stage = lenet[0].network.names[0]
    wanted = by_hand(lenet, 0, stage)
    actual = features(*lenet, DATASET, (stage, "head"), batch_size=16)
    assert tuple(actual) == (stage, "head")
    np.testing.assert_allclose(actual[stage][0], wanted.mean((1, 2)), rtol=1e-4)
    cells = module._pool(jnp.asarray(wanted), 2)
    half = wanted.reshape(11, 2, wanted.shape[1] // 2, *wanted.shape[2:]).mean(2)
    if wanted.shape[2] % 2:  # cells of an odd side share its middle
        middle = wanted.shape[2] // 2
        columns = [half[:, :, : middle + 1].mean(2), half[:, :, middle:].mean(2)]
    else:
        columns = [part.mean(2) for part in np.split(half, 2, axis=2)]
    np.testing.assert_allclose(cells, np.stack(columns, 2), rtol=1e-4)


def test_cells_are_those_of_adaptive_pooling():
    np.testing.assert_allclose(module._cells(5, 2), [[1 / 3] * 3 + [0, 0], [0, 0] + [1 / 3] * 3])
    np.testing.assert_array_equal(module._cells(3, 7), np.eye(3))
    for side in range(1, 9):
        for cells in (3, 4):
            np.testing.assert_allclose(module._cells(side, cells).sum(1), 1, rtol=1e-6)


def test_written_features_are_read_back(tmp_path):
    actual = {"stage1": GENERATOR.normal(size=(2, 11, 3)).astype(np.float32)}
    path = save_features(tmp_path / "new" / "features.npz", actual, DATASET, "of a test")
    back, labels, names = load_features(path)
    np.testing.assert_array_equal(back["stage1"], actual["stage1"])
    np.testing.assert_array_equal(labels, DATASET.labels)
    assert names == ["ant", "bee"] and list(back) == ["stage1"]
    assert [each.name for each in path.parent.iterdir()] == ["features.npz"]
    np.savez(path, stage1=actual["stage1"], labels=labels[:9], class_names=names)
    with pytest.raises(ValueError, match=r"stage1 of shape \(2, 11, 3\) and labels of shape \(9,"):
        load_features(path)
    save_features(path, {"pixels": pixels(DATASET)}, DATASET)
    assert load_features(path)[0]["pixels"].shape == (11, 48)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="cannot be read"):
        load_features(path)


def test_pixels_are_between_0_and_1():
    assert pixels(DATASET).shape == (11, 48)
    np.testing.assert_allclose(pixels(DATASET)[3, 7], DATASET.images[3, 1, 1, 0] / 255, rtol=1e-6)


def test_stages_without_features_and_wrong_files_are_refused(tmp_path, lenet):
    unet = made(models.create("unet", 2, width=2, depth=1))
    one = {"stage1": np.zeros((2, 10, 3), np.float32)}
    turned = {"stage1": np.zeros((11, 2, 3), np.float32)}
    across = {"stage1": np.zeros((2, 11), np.float32)}
    cases = [
        (lambda: features(*lenet, DATASET, ("haed",)), "Did you mean 'head'"),
        (lambda: features(*unet, DATASET, ("stem",)), "'stem' must return one array"),
        (lambda: features(*lenet, DATASET, pool=0), "pool must be"),
        (lambda: save_features(tmp_path / "f.npy", {}, DATASET), "ends with .npz"),
        (lambda: save_features(tmp_path / "f.npz", one, DATASET), "11 examples of made"),
        (lambda: save_features(tmp_path / "f.npz", turned, DATASET), "11 examples of made"),
        (lambda: save_features(tmp_path / "f.npz", across, DATASET), "11 examples of made"),
        (lambda: save_features(tmp_path / "f.npz", {"labels": pixels(DATASET)}, DATASET), "labels"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    assert "stem" not in module.stage_shapes(*unet, DATASET)
    assert not list(tmp_path.iterdir())
