"""The row of stages: any part of it runs, and the parts make the whole."""

import functools
import re
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import models
from cnnlab.models.dropout import Dropout
from cnnlab.models.layers import Conv, ConvTranspose
from cnnlab.models.norms import MOMENTS, BatchNorm
from cnnlab.models.pooling import average_pool, max_pool

FAMILIES = {
    "linear": models.linear(3),
    "mlp": models.mlp(3, widths=(6, 5)),
    "lenet5": models.lenet5(3),
    "residual": models.create("resnet8", 3, width=2),
    "projected": models.create("resnet8", 3, width=2, shortcut="B"),
    "plain": models.create("plain8", 3, width=2),
}
IMAGES = np.random.Generator(np.random.PCG64(0)).standard_normal((2, 12, 12, 1)).astype(np.float32)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, quick_jit):
    """A network and its variables."""
    network = FAMILIES[request.param]
    return network, quick_jit(network.init)(jax.random.key(0), IMAGES)


class Append(nn.Module):
    """A stage that shows where it stood: ``10 x + digit``, doubled where ``train``."""

    digit: int

    @nn.compact
    def __call__(self, x, *, train=False):
        return (10 * x + self.digit) * (2 if train else 1)


ROW = models.Network((("stem", Append(1)), ("stage1", Append(2)), ("head", Append(3))))


@pytest.mark.parametrize(
    ("part", "want"),
    [
        ({}, 123),
        ({"stop": "stem"}, 1),
        ({"stop": "stage1"}, 12),
        ({"start": "stage1"}, 23),
        ({"start": "head"}, 3),
        ({"start": "stage1", "stop": "stage1"}, 2),
    ],
)
def test_stages_run_in_order_from_start_to_stop_both_included(part, want):
    assert ROW.apply({}, jnp.zeros(()), **part) == want


def test_train_reaches_every_stage():
    assert ROW.apply({}, jnp.zeros(()), train=True) == 2 * (10 * (2 * (10 * 2 + 2)) + 3)


def test_every_stage_has_its_parameters_under_its_name(family):
    network, variables = family
    assert network.names[0] == "stem" and network.names[-1] == "head"
    assert list(network.names[1:-1]) == [f"stage{i}" for i in range(1, len(network.names) - 1)]
    without = {"stem"} if "kernel" not in str(variables["params"].get("stem")) else set()
    assert set(variables["params"]) == set(network.names) - without


def test_the_parts_before_and_after_any_stage_make_the_whole(family, quick_jit):
    network, variables = family

    @quick_jit
    def all_ways(variables, images):
        whole = network.apply(variables, images)
        cut = []
        for name in network.names[:-1]:
            features = network.apply(variables, images, stop=name)
            cut.append(network.apply(variables, features, start=network.after(name)))
        return whole, cut

    whole, cut = all_ways(variables, IMAGES)
    assert len(cut) == len(network.names) - 1
    for each in cut:
        np.testing.assert_allclose(each, whole, rtol=1e-5, atol=1e-6)


def test_parts_in_training_update_the_statistics_of_their_own_stages_only(quick_jit):
    network = FAMILIES["residual"]
    variables = quick_jit(network.init)(jax.random.key(0), IMAGES)

    @quick_jit
    def both_ways(variables, images):
        def run(x, **part):
            return network.apply(variables, x, train=True, mutable=["batch_stats"], **part)

        features, front = run(images, stop="stage1")
        rear_logits, rear = run(features, start="stage2")
        return run(images), rear_logits, front, rear

    (logits, whole), rear_logits, front, rear = both_ways(variables, IMAGES)
    np.testing.assert_allclose(rear_logits, logits, rtol=1e-5, atol=1e-6)
    new = {name: front["batch_stats"][name] for name in ("stem", "stage1")}
    new |= {name: rear["batch_stats"][name] for name in ("stage2", "stage3")}
    old = variables["batch_stats"]
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        new,
        whole["batch_stats"],
    )
    untouched = [front["batch_stats"][name] for name in ("stage2", "stage3")]
    jax.tree.map(np.testing.assert_array_equal, untouched, [old["stage2"], old["stage3"]])
    assert not np.allclose(new["stage3"]["block0"]["norm2"]["mean"], 0)


def test_a_stage_runs_with_its_own_parameters_alone(quick_jit):
    network = FAMILIES["lenet5"]
    variables = quick_jit(network.init)(jax.random.key(0), IMAGES)
    features = jnp.ones((2, 84))
    head = {"params": {"head": variables["params"]["head"]}}
    np.testing.assert_array_equal(
        network.apply(head, features, start="head"),
        network.apply(variables, features, start="head"),
    )


def test_init_up_to_a_stage_makes_the_parameters_up_to_there():
    network = FAMILIES["mlp"]
    params = network.init(jax.random.key(0), IMAGES, stop="stage1")["params"]
    assert set(params) == {"stage1"}


def test_after_names_the_next_stage():
    assert [ROW.after(name) for name in ("stem", "stage1")] == ["stage1", "head"]


def test_nothing_comes_after_the_last_stage():
    with pytest.raises(ValueError, match=r"'head' is the last stage of \['stem', 'stage1'"):
        ROW.after("head")


@pytest.mark.parametrize(
    "use",
    [
        lambda name: ROW.after(name),
        lambda name: ROW.apply({}, jnp.zeros(()), start=name),
        lambda name: ROW.apply({}, jnp.zeros(()), stop=name),
    ],
)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("stag1", "Did you mean 'stage1'? Known: stem, stage1, head"),
        ("Head", "Did you mean 'head'? Known: stem, stage1, head"),
        ("conv", "Known: stem, stage1, head"),
    ],
)
def test_an_unknown_stage_is_answered_with_the_nearest_and_all(use, name, message):
    with pytest.raises(ValueError, match=re.escape(f"unknown stage {name!r}. {message}")):
        use(name)


def test_a_stop_before_the_start_is_refused():
    with pytest.raises(ValueError, match=r"stop='stem' lies before start='head'"):
        ROW.apply({}, jnp.zeros(()), start="head", stop="stem")


# Networks with other outputs


class Views(models.Network):
    """A network that sees every image also mirrored: ``[N, ...] -> [N, 2, K]``."""

    axis: int

    @nn.nowrap
    def apply(self, variables, *images, **options):
        network, (x,) = models.Network(self.stages), images
        if options.get("stop") is not None:
            return network.apply(variables, x, **options)
        views = jnp.stack([x, jnp.flip(x, self.axis)])
        return jax.lax.map(lambda view: network.apply(variables, view, **options), views).swapaxes(
            0, 1
        )


def test_a_derived_network_has_the_stages_and_variables_of_its_own_and_another_output(quick_jit):
    network = FAMILIES["lenet5"]
    views = Views(network.stages, axis=2)
    variables = quick_jit(views.init)(jax.random.key(0), IMAGES)
    same = quick_jit(network.init)(jax.random.key(0), IMAGES)
    jax.tree.map(np.testing.assert_array_equal, variables, same)
    assert isinstance(views, models.Network) and views.names == network.names

    @quick_jit
    def three_ways(variables, images):
        mirrored = jnp.flip(images, 2)
        return views.apply(variables, images), [
            network.apply(variables, each) for each in (images, mirrored)
        ]

    outputs, wanted = three_ways(variables, IMAGES)
    np.testing.assert_allclose(outputs, np.stack(wanted, 1), rtol=1e-5, atol=1e-6)
    front = [each.apply(variables, IMAGES, stop="stem") for each in (views, network)]
    np.testing.assert_array_equal(*front)


def test_equal_derived_networks_share_a_program():
    stages, traced = FAMILIES["mlp"].stages, []

    @functools.partial(jax.jit, static_argnums=0)
    def run(network, images):
        traced.append(network)
        return images

    for axis in (1, 1, 2):
        run(Views(stages, axis=axis), IMAGES)
    assert len(traced) == 2


# Frozen stages


class Dropping(nn.Module):
    """A stage that drops half."""

    @nn.compact
    def __call__(self, x, *, train=False):
        return Dropout(0.5)(x, train)


def test_frozen_stages_use_and_keep_their_running_statistics_while_others_update(quick_jit):
    network = FAMILIES["residual"]
    variables = filled(network, IMAGES)

    @quick_jit
    def both_ways(variables, images):
        def run(x, **options):
            return network.apply(variables, x, mutable=["batch_stats"], **options)

        features, _ = run(images, train=False, stop="stage1")
        by_hand = run(features, train=True, start="stage2")
        all_train = run(images, train=True)
        return run(images, train=True, frozen=("stem", "stage1")), by_hand, all_train

    (logits, state), (expected, rear), (others, trained) = both_ways(variables, IMAGES)
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(logits, others, rtol=1e-3)
    new, old = state["batch_stats"], variables["batch_stats"]
    for name in ("stem", "stage1"):
        jax.tree.map(np.testing.assert_array_equal, new[name], old[name])
        assert all(jax.tree.leaves(jax.tree.map(differ, trained["batch_stats"][name], old[name])))
    for name in ("stage2", "stage3"):
        assert all(jax.tree.leaves(jax.tree.map(differ, new[name], old[name])))
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
            new[name],
            rear["batch_stats"][name],
        )


def differ(a, b):
    return not np.allclose(a, b)


def filled(network, images):
    """Variables of normal numbers, those of which variances are made positive."""
    generator = np.random.Generator(np.random.PCG64(1))
    shapes = jax.eval_shape(network.init, jax.random.key(0), images)

    def fill(path, leaf):
        value = generator.standard_normal(leaf.shape) / 2
        return jnp.asarray(value**2 + 1 if "var" in str(path[-1]) else value, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, shapes)


def test_moments_of_frozen_stages_are_not_taken():
    class Normalised(nn.Module):
        @nn.compact
        def __call__(self, x, *, train=False):
            return BatchNorm(name="norm")(x, train)

    row = models.Network((("stem", Normalised()), ("head", Normalised())))
    images = jnp.ones((2, 3))
    variables = row.init(jax.random.key(0), images, train=True)
    assert set(variables) == {"params", "batch_stats"}
    mutable = ["batch_stats", MOMENTS]
    _, state = row.apply(variables, images, train=True, frozen=("stem",), mutable=mutable)
    assert set(state[MOMENTS]) == {"head"}


def test_a_frozen_module_in_a_plain_stage_that_keeps_statistics_is_refused():
    class Norm(nn.Module):
        @nn.compact
        def __call__(self, x):
            return BatchNorm(name="inner")(x, True)

    class Stage(nn.Module):
        @nn.compact
        def __call__(self, x, *, train=False):
            return nn.Dense(3)(Norm(name="norm")(x))

    row = models.Network((("stem", Stage()),))
    images = jnp.ones((2, 3))
    variables = row.init(jax.random.key(0), images)
    with pytest.raises(ValueError, match="stem/norm is frozen and keeps batch statistics"):
        row.apply(variables, images, train=True, frozen=("stem/norm",), mutable=["batch_stats"])


def test_a_frozen_norm_within_a_block_keeps_its_statistics_and_its_neighbours_update(quick_jit):
    network = FAMILIES["residual"]
    variables = filled(network, IMAGES)
    frozen = ("stage1/block0/norm1", "stage2/block0")

    @quick_jit
    def train(variables, images):
        return network.apply(variables, images, train=True, frozen=frozen, mutable=["batch_stats"])

    statistics, old = train(variables, IMAGES)[1]["batch_stats"], variables["batch_stats"]
    kept = (statistics["stage1"]["block0"]["norm1"], statistics["stage2"]["block0"])
    wanted = (old["stage1"]["block0"]["norm1"], old["stage2"]["block0"])
    jax.tree.map(np.testing.assert_array_equal, kept, wanted)
    moved = jax.tree.map(
        differ, statistics["stage1"]["block0"]["norm2"], old["stage1"]["block0"]["norm2"]
    )
    assert all(jax.tree.leaves(moved))


def test_in_a_plain_stage_a_layer_can_be_frozen_but_not_a_module_of_modules():
    class Inner(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(3, name="dense")(x)

    class Plain(nn.Module):
        @nn.compact
        def __call__(self, x, *, train=False):
            return Inner(name="inner")(nn.Dense(3, name="first")(x))

    row = models.Network((("stem", Plain()),))
    images = jnp.ones((2, 3))
    variables = row.init(jax.random.key(0), images)
    out = row.apply(variables, images, train=True, frozen=("stem/first",))
    np.testing.assert_array_equal(out, row.apply(variables, images))
    with pytest.raises(
        ValueError, match=r"stem/inner is frozen .* derive Plain from .*models\.Part"
    ):
        row.apply(variables, images, train=True, frozen=("stem/inner",))


def test_a_frozen_stage_drops_nothing_and_the_others_do():
    row = models.Network((("stem", Dropping()), ("head", Dropping())))
    x = jnp.ones((4, 50))
    rngs = {"dropout": jax.random.key(0)}
    np.testing.assert_array_equal(row.apply({}, x, train=True, frozen=row.names), x)
    half = row.apply({}, x, train=True, frozen=("head",), rngs=rngs)
    assert set(np.asarray(half).flat) == {0, 2}
    assert set(np.asarray(row.apply({}, x, train=True, rngs=rngs)).flat) == {0, 4}


def test_frozen_changes_nothing_in_evaluation_and_only_the_stages_named_in_training():
    assert ROW.apply({}, jnp.zeros(()), frozen=("stem",)) == 123
    assert ROW.apply({}, jnp.zeros(()), train=True, frozen=("stage1",)) == 2 * (10 * 22 + 3)
    assert ROW.apply({}, jnp.zeros(()), train=True, frozen=ROW.names) == 123


def test_an_unknown_frozen_stage_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="unknown stage 'stage'. Did you mean 'stage1'"):
        ROW.apply({}, jnp.zeros(()), train=True, frozen=("stem", "stage"))


# Images that do not fit


class Layer(nn.Module):
    """A stage of one layer, which leaves what passes beside its images alone."""

    layer: Any

    @nn.compact
    def __call__(self, x, *, train=False):
        return (self.layer(x[0]), *x[1:]) if isinstance(x, tuple) else self.layer(x)


SHRINKING = {
    "max_pool": lambda x: max_pool(x, 3),
    "max_pool, ceil": lambda x: max_pool(x, 4, 2, ceil=True),
    "average_pool": lambda x: average_pool(x, 3),
    "convolution": Conv(2, 3, padding="VALID"),
    "transposed convolution": ConvTranspose(2, 2, 2, padding=2),
}


@pytest.mark.parametrize("layer", SHRINKING.values(), ids=SHRINKING)
@pytest.mark.parametrize("beside", [False, True])
def test_a_stage_that_shrinks_images_to_nothing_is_named_with_what_it_gets(layer, beside):
    row = models.Network((("stem", Layer(lambda x: max_pool(x, 2))), ("stage1", Layer(layer))))

    def start(size):
        images = jnp.zeros((1, size, size + 1, 5))
        return jax.eval_shape(row.init, jax.random.key(0), (images, 0) if beside else images)

    start(20)
    message = r"too small: stage 'stage1' shrinks its input, 1 x 2 x 5, to nothing \(at 1 x 2 pixel"
    with pytest.raises(models.TooSmallError, match=message):
        start(3)


@pytest.mark.parametrize("name", ["resnet8", "lenet5", "mlp"])
def test_images_of_other_channels_than_at_the_start_are_refused_where_they_meet_a_kernel(name):
    network = models.create(name, 3)
    variables = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    message = {
        "resnet8": "stem/conv was made for 3 channels.* got an input .1, 16, 16, 1.",
        "lenet5": "stem/conv was made for 3 channels",
        "mlp": "stage1/dense was made for 768 inputs.* got an input .1, 256.",
    }
    with pytest.raises(ValueError, match=message[name]):
        jax.eval_shape(network.apply, variables, jnp.zeros((1, 16, 16, 1)))


@pytest.mark.parametrize(("name", "layer"), [("lenet5", "stage2/dense"), ("linear", "head/dense")])
def test_images_of_another_size_than_at_the_start_are_refused_by_the_dense_layer(name, layer):
    network = models.create(name, 3)
    variables = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    with pytest.raises(ValueError, match=f"{layer} was made for .* inputs"):
        jax.eval_shape(network.apply, variables, jnp.zeros((1, 32, 32, 1)))


def test_a_net_without_dense_layers_takes_images_of_any_size():
    network = models.create("resnet8", 3, width=2)
    variables = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
    logits = jax.eval_shape(network.apply, variables, jnp.zeros((2, 9, 30, 3)))
    assert logits.shape == (2, 3)
