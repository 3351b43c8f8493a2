"""Training on cached features equals training with a frozen front; stale caches are refused."""

import dataclasses
import errno
import json

import jax
import numpy as np
import optax
import pytest
from jax import numpy as jnp

from cnnlab import augment, models, optim
from cnnlab.augment.compose import per_example
from cnnlab.data import Dataset, Features
from cnnlab.keys import run_key, stream_key
from cnnlab.models import Network
from cnnlab.models.perceptron import Classifier, Hidden
from cnnlab.train import Recipe, fit, predict
from cnnlab.train.state import TrainState, restarted
from cnnlab.transfer import cache, cache_files, join_front, tail_recipe, tail_states
from cnnlab.transfer.freezing import freeze

FRONT = "stage1"


def make_dataset(examples, seed=0):
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (examples, 4, 4, 1), dtype=np.uint8)
    labels = generator.integers(0, 3, examples, dtype=np.int32)
    return Dataset(images, labels, ("a", "b", "c"), "made")


TRAIN, HELD_OUT = make_dataset(21), make_dataset(21, seed=1)
NETWORK = models.create("mlp", 3, widths=(6, 5), norm="batch", dropout=0.2)
WHOLE = Recipe(
    NETWORK,
    optim.create("nesterov", 0.1, weight_decay=0.1, clip=0.5),
    augment.normalize((128.0,), (64.0,)),
    rates=freeze(NETWORK, up_to=FRONT),
    ema_decay=0.5,
)
SETTINGS = {"epochs": 2, "batch_size": 8, "seeds": (3, 4), "remainder": "wrap"}


@pytest.fixture(scope="module")
def initial():
    """States whose members share a front, with statistics of its own, and have different tails."""
    shapes = jax.eval_shape(NETWORK.init, jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
    generator = np.random.default_rng(5)

    def draw(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        same = any(f"/{stage}/" in name for stage in NETWORK.front(FRONT).names)
        values = 0.4 * generator.normal(size=(1 if same else 2, *leaf.shape))
        values = np.abs(values) + 0.5 if "var" in name or "scale" in name else values
        return jnp.asarray(np.broadcast_to(values, (2, *leaf.shape)), jnp.float32)

    variables = dict(jax.tree_util.tree_map_with_path(draw, dict(shapes)))
    params = variables.pop("params")
    return restarted(WHOLE, params, variables)


@pytest.fixture(scope="module")
def features(initial):
    return [cache.front_features(WHOLE, initial, each, FRONT) for each in (TRAIN, HELD_OUT)]


@pytest.fixture(scope="module")
def both(initial, features):
    """The last epochs of training everything and the tail, and the tail joined to its front."""
    *_, whole = fit(WHOLE, TRAIN, initial=initial, **SETTINGS)
    tail = tail_recipe(WHOLE, FRONT)
    *_, part = fit(tail, features[0], initial=tail_states(WHOLE, initial, FRONT), **SETTINGS)
    return whole, part, join_front(WHOLE, initial, part.states, FRONT)


def test_training_on_features_equals_training_with_a_frozen_front(both):
    whole, part, joined = both
    assert jax.tree.structure(whole.states) == jax.tree.structure(joined)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), whole.states, joined
    )
    for name, value in whole.metrics.items():
        np.testing.assert_allclose(part.metrics[name], value, rtol=1e-4, err_msg=name)


def test_the_front_is_bitwise_the_same_and_the_tail_has_moved(initial, both):
    _, _, joined = both
    for name, stage in initial.params.items():
        leaves = zip(jax.tree.leaves(stage), jax.tree.leaves(joined.params[name]), strict=True)
        same = [np.array_equal(a, b) for a, b in leaves]
        assert all(same) if name in NETWORK.front(FRONT).names else not any(same), name
    for tree in (joined.model_state, joined.average.model_state):
        for name in NETWORK.front(FRONT).names:
            before = jax.tree.leaves(initial.model_state["batch_stats"].get(name, {}))
            after = jax.tree.leaves(tree["batch_stats"].get(name, {}))
            assert all(map(np.array_equal, before, after))


def test_the_joined_network_predicts_as_the_tail_does_on_features(both, features):
    _, part, joined = both
    tail = tail_recipe(WHOLE, FRONT)
    on_features = predict(tail, part.states, features[1])
    np.testing.assert_allclose(predict(WHOLE, joined, HELD_OUT), on_features, rtol=1e-4, atol=1e-4)


def test_features_are_the_stage_s_outputs_for_any_batch_size(initial, features):
    alone = jax.tree.map(lambda leaf: leaf[1], initial)
    got = cache.front_features(WHOLE, alone, TRAIN, FRONT, batch_size=4)
    assert isinstance(got, Features) and got.images.dtype == np.float32
    variables = {"params": alone.params, **alone.model_state}
    images = (TRAIN.images.astype(np.float32) - 128) / 64
    wanted = NETWORK.apply(variables, images, stop=FRONT)
    for result in (got, features[0]):
        np.testing.assert_allclose(result.images, wanted, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(result.labels, TRAIN.labels)


# A front that adds up pixels, and one whose outputs are the pixels themselves.


class Same(Hidden):
    def __call__(self, x, *, train=False):
        return x


PLAIN = Recipe(
    Network((("stem", Same(1)), ("head", Classifier(3)))),
    optax.sgd(0.1),
    augment.to_unit_range(),
    per_example(lambda key, image: image + jax.random.uniform(key)),
)


@pytest.fixture(scope="module")
def plain():
    params = {"head": {"dense": {"kernel": jnp.ones((1, 16, 3)), "bias": jnp.zeros((1, 3))}}}
    return restarted(PLAIN, params, {})


def test_copies_are_augmented_by_seed_copy_and_place_alone(plain):
    dataset = dataclasses.replace(TRAIN, targets=np.eye(3, dtype=np.float32)[TRAIN.labels])
    settings = {"copies": 2, "seed": 7}
    got = cache.front_features(PLAIN, plain, dataset, "stem", batch_size=5, **settings)
    assert got.images.shape == (42, 4, 4, 1)
    np.testing.assert_array_equal(got.labels, np.tile(TRAIN.labels, 2))
    np.testing.assert_array_equal(got.targets[21:], dataset.targets)
    prepared = jnp.asarray(TRAIN.images, jnp.float32) / 255
    for copy, row in ((0, 0), (0, 20), (1, 6)):
        key = jax.random.fold_in(stream_key(run_key(7), "cache", copy), row)
        wanted = PLAIN.augment(key, prepared[row : row + 1])[0]
        np.testing.assert_allclose(got.images[21 * copy + row], wanted, atol=1e-6)
    again = cache.front_features(PLAIN, plain, dataset, "stem", batch_size=21, **settings)
    np.testing.assert_array_equal(got.images, again.images)
    assert not np.array_equal(got.images[:21], got.images[21:])


def test_features_of_a_test_part_are_a_test_part(plain):
    test = dataclasses.replace(TRAIN, part="test")
    assert cache.front_features(PLAIN, plain, test, "stem").part == "test"


@pytest.mark.parametrize("memory_limit", [2**30, 0])
def test_written_features_are_read_and_not_computed_again(
    monkeypatch, tmp_path, plain, memory_limit
):
    made = cache.front_features(PLAIN, plain, TRAIN, "stem", directory=tmp_path / "a")
    monkeypatch.setattr(cache, "_compute", None)
    settings = {"directory": tmp_path / "a", "memory_limit": memory_limit}
    read = cache.front_features(PLAIN, plain, TRAIN, "stem", **settings)
    assert isinstance(read.images, np.memmap) == (memory_limit == 0)
    np.testing.assert_array_equal(read.images, made.images)
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "cache.json",
        "features.npy",
    ]


def test_an_incomplete_cache_is_recomputed(monkeypatch, tmp_path, plain):
    complete = cache.front_features(PLAIN, plain, TRAIN, "stem", batch_size=5)
    parts = cache._compute

    def killed(*arguments):
        yield next(parts(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(cache, "_compute", killed)
    with pytest.raises(KeyboardInterrupt):
        cache.front_features(PLAIN, plain, TRAIN, "stem", directory=tmp_path, batch_size=5)
    assert not list(tmp_path.iterdir())
    # A process that is killed outright leaves what it had written, and no JSON.
    (tmp_path / "features.npy.12345678.tmp").write_bytes(b"half")
    np.save(tmp_path / "features.npy", complete.images[:5])
    monkeypatch.setattr(cache, "_compute", parts)
    again = cache.front_features(PLAIN, plain, TRAIN, "stem", directory=tmp_path, batch_size=5)
    np.testing.assert_array_equal(again.images, complete.images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": HELD_OUT}, "another data set"),
        ({"dtype": "float16"}, r"another dtype \(float32, and now float16\)"),
        ({"copies": 2}, "another augmentation.*another number of augmented copies"),
        ({"prepare": augment.normalize((3.0,), (64.0,))}, "normalised in another way"),
        ({"states": 1.5}, "other weights or statistics"),
        ({"stop": "second"}, "another stage"),
        ({"act": "tanh"}, "another network"),
    ],
)
def test_a_cache_of_something_else_is_refused_with_the_difference(
    tmp_path_factory, change, message
):
    def make(act="relu", prepare=PLAIN.prepare, states=1.0, stop="first", data=TRAIN, **settings):
        first, second = Hidden(3, activation=act), Hidden(3)
        network = Network((("first", first), ("second", second), ("head", Classifier(3))))
        shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
        params = jax.tree.map(lambda leaf: jnp.full((1, *leaf.shape), states), shapes["params"])
        recipe = dataclasses.replace(PLAIN, network=network, prepare=prepare)
        directory = tmp_path_factory.getbasetemp() / "shared-cache"
        initial = restarted(recipe, params, {})
        return cache.front_features(recipe, initial, data, stop, directory=directory, **settings)

    make()
    with pytest.raises(ValueError, match=message):
        make(**change)


def test_a_cache_with_another_augmentation_is_noticed_whatever_the_seed(initial):
    def fingerprint(augmentation, seed, dataset=TRAIN):
        recipe = dataclasses.replace(WHOLE, augment=augmentation)
        front = cache._front(recipe, initial, FRONT)
        return cache._fingerprints(front, recipe, dataset, 2, seed)["augment"]

    flipped, shifted = augment.flip(), augment.crop(1)
    flips = [fingerprint(flipped, seed) for seed in range(3)]
    assert np.isfinite(flips).all() and cache_files._equal_up_to_rounding(
        flips[0], fingerprint(augment.flip(), 0)
    )
    assert not cache_files._equal_up_to_rounding(flips[0], flips[1])
    for seed, each in enumerate(flips):
        assert not cache_files._equal_up_to_rounding(each, fingerprint(augment.compose(), seed))
    assert not cache_files._equal_up_to_rounding(
        fingerprint(shifted, 0), fingerprint(augment.crop(1, 0.1), 0)
    )


@pytest.mark.parametrize(
    ("network", "digest"),
    [
        (models.create("mlp", 5, widths=(8, 6)), "7bcb7d7d7960126e"),
        (models.create("resnet8", 5), "059243367f05975d"),
        (models.create("squeezenet", 5), "cc75ef6b395665c2"),
    ],
)
def test_caches_that_were_written_by_an_earlier_version_are_read(network, digest):
    # Digests of the version before modules had the field ``frozen``.
    assert cache.network_digest(network.front(network.names[-2])) == digest


def test_of_two_runs_that_write_the_same_the_first_is_kept(tmp_path, plain):
    made = cache.front_features(PLAIN, plain, TRAIN, "stem", directory=tmp_path / "a")
    about = json.loads((tmp_path / "a" / "cache.json").read_text())["made_of"]

    def other(features):
        # While this run computes, another one begins and ends.
        cache_files.write(
            tmp_path / "b", about, [made.images], made.images.shape, made.images.dtype
        )
        yield features

    settings = made.images.shape, made.images.dtype
    cache_files.write(tmp_path / "b", about, other(made.images + 1), *settings)
    assert len(list((tmp_path / "b").iterdir())) == 2
    read = cache.front_features(PLAIN, plain, TRAIN, "stem", directory=tmp_path / "b")
    np.testing.assert_array_equal(read.images, made.images)


def test_a_file_in_the_place_of_the_directory_is_named(tmp_path, plain):
    (tmp_path / "features").write_text("a file")
    with pytest.raises(NotADirectoryError, match="features is a file: choose another"):
        cache.front_features(PLAIN, plain, TRAIN, "stem", directory=tmp_path / "features")
    assert (tmp_path / "features").read_text() == "a file"


@pytest.mark.parametrize(("number", "advised"), [(errno.ENOSPC, True), (errno.EACCES, False)])
def test_freeing_space_is_advised_only_where_the_disk_is_full(tmp_path, number, advised):
    def failing():
        raise OSError(number, "not written")
        yield

    with pytest.raises(OSError, match="choose another|Choose another") as caught:
        cache_files.write(tmp_path, {}, failing(), (2, 3), np.dtype(np.float32))
    assert ("Free some space" in str(caught.value)) == advised
    assert not list(tmp_path.iterdir())


def test_all_processes_compute_and_the_first_writes(monkeypatch, tmp_path):
    parts, settings = iter([np.zeros((2, 3), np.float32)]), ((2, 3), np.dtype(np.float32))
    monkeypatch.setattr(cache_files, "first_process", lambda: False)
    cache_files.write(tmp_path, {}, parts, *settings)
    assert next(parts, None) is None and not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="directory that all of them see"):
        cache_files.read(tmp_path, {}, 2**20)


@pytest.mark.parametrize("damage", ["cut", "flip", "other"])
def test_damaged_features_are_refused(tmp_path, plain, damage):
    cache.front_features(PLAIN, plain, TRAIN, "stem", directory=tmp_path)
    path = tmp_path / "features.npy"
    data = bytearray(path.read_bytes())
    if damage == "other":
        (tmp_path / "cache.json").write_text(json.dumps({"step": 3}))
    else:
        data[-9] ^= 64
        path.write_bytes(data[: -40 if damage == "cut" else None])
    with pytest.raises(ValueError, match="damaged|holds something else"):
        cache.front_features(PLAIN, plain, TRAIN, "stem", directory=tmp_path)


def test_requests_that_cannot_be_cached_are_refused(initial, plain):
    moved = jax.tree.map(
        lambda leaf: leaf + jnp.arange(2.0).reshape(2, *[1] * (leaf.ndim - 1)), initial
    )
    cases = [
        (lambda: cache.front_features(WHOLE, moved, TRAIN, FRONT), "must have the same front"),
        (lambda: cache.front_features(WHOLE, initial, TRAIN, "stag1"), "Did you mean 'stage1'"),
        (lambda: tail_recipe(WHOLE, "head"), "last stage"),
        (lambda: tail_states(WHOLE, initial, "stage2"), "stage2 would learn"),
        (lambda: cache.front_features(PLAIN, plain, TRAIN, "stem", copies=-1), "copies=-1"),
        (lambda: cache.front_features(PLAIN, plain, TRAIN, "stem", dtype="int8"), "'int8'"),
        (lambda: tail_recipe(dataclasses.replace(WHOLE, teacher=abs), FRONT), "teacher"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    averaged = initial._replace(average=initial.average._replace(params=moved.params))
    with pytest.raises(ValueError, match="moving average has other"):
        cache.front_features(WHOLE, averaged, TRAIN, FRONT)


def test_a_stage_that_returns_a_tuple_has_no_features():
    network = models.create("unet", 3, width=2, depth=2)
    recipe = dataclasses.replace(PLAIN, network=network)
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
    statistics = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), dict(shapes))
    params = statistics.pop("params")
    state = TrainState(jnp.zeros((), jnp.int32), params, statistics, (), None)
    with pytest.raises(ValueError, match="must return one array"):
        cache.front_features(recipe, state, TRAIN, network.names[0])


def test_float16_that_overflows_and_features_that_are_not_finite_are_refused(plain):
    for scale, message in ((1e6, "too large for float16"), (np.nan, "must be finite")):
        recipe = dataclasses.replace(PLAIN, prepare=lambda _, images, by=scale: images * by)
        with pytest.raises(ValueError, match=message):
            cache.front_features(recipe, plain, TRAIN, "stem", dtype="float16")
