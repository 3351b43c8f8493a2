"""Growing deeper: copied layers, new layers, and the function that stays the same."""

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from jax import numpy as jnp

from cnnlab import models
from cnnlab.models.resnet_cifar import resnet_cifar
from cnnlab.transfer import deepening

IMAGES = np.random.default_rng(0).normal(size=(6, 8, 8, 1)).astype(np.float32)


def draw(network, seed, images=IMAGES):
    """Random variables of the network's shapes; variances are positive."""
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.asarray(images))
    generator = np.random.default_rng(seed)

    def one(path, leaf):
        values = generator.normal(size=leaf.shape).astype(np.float32)
        return np.abs(values) + 0.5 if path[-1].key == "var" else 0.5 * values

    return jax.tree_util.tree_map_with_path(one, dict(shapes))


def with_fresh_constants(variables):
    """The variables with a fresh network's biases, scales and statistics."""
    start = {"bias": 0.0, "scale": 1.0, "mean": 0.0, "var": 1.0}

    def one(path, leaf):
        name = path[-1].key
        scalar = name.startswith("bias") and not leaf.shape
        return (
            np.full_like(leaf, start["bias" if scalar else name])
            if (name in start or scalar)
            else leaf
        )

    return jax.tree_util.tree_map_with_path(one, variables)


def perceptrons():
    widths = (5, 4), (5, 4, 4, 4)
    return tuple(models.create("mlp", 3, widths=w, norm="batch") for w in widths)


def plain_nets(norm):
    how = {"shortcut": "none", "width": 2, "norm": norm}
    return tuple(resnet_cifar(3, depth=depth, **how) for depth in (8, 14))


PAIRS = {
    "plain nets with BatchNorm": plain_nets("batch"),
    "plain nets without": plain_nets("none"),
    "perceptrons": perceptrons(),
}


@pytest.mark.parametrize("what", PAIRS)
def test_new_identity_layers_keep_the_function(quick_jit, what):
    shallow, deep = PAIRS[what]
    old, fresh = draw(shallow, 1), with_fresh_constants(draw(deep, 2))

    def both(old, fresh):
        grown = deepening.deepen_with_identity(deep, old, fresh, IMAGES)
        return grown, shallow.apply(old, IMAGES), deep.apply(grown, IMAGES)

    grown, before, after = jax.device_get(quick_jit(both)(old, fresh))
    assert np.abs(before).max() > 0.1
    if what == "plain nets without":
        # Times one and plus zero; XLA may still add up in another order.
        np.testing.assert_allclose(after, before, rtol=1e-6, atol=1e-6)
    else:
        np.testing.assert_allclose(after, before, rtol=2e-4, atol=2e-4 * np.abs(before).max())
    assert jax.tree.structure(grown) == jax.tree.structure(fresh)


def test_a_new_batchnorm_restores_the_statistics_of_the_images(quick_jit):
    shallow, deep = PAIRS["perceptrons"]
    old, fresh = draw(shallow, 1), with_fresh_constants(draw(deep, 2))

    def run(old, fresh):
        grown = deepening.deepen_with_identity(deep, old, fresh, IMAGES)
        hidden = shallow.apply(old, IMAGES, stop="stage2")
        # A step of training on these images begins with the shallow one's function, too.
        late, _ = deep.apply(grown, hidden, start="stage3", train=True, mutable=["batch_stats"])
        return grown, hidden, late, shallow.apply(old, hidden, start="head")

    grown, hidden, late, early = jax.device_get(quick_jit(run)(old, fresh))
    for stage in ("stage3", "stage4"):
        stats, params = grown["batch_stats"][stage]["norm"], grown["params"][stage]["norm"]
        np.testing.assert_allclose(stats["mean"], hidden.mean(0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(stats["var"], hidden.var(0), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(params["bias"], hidden.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(late, early, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("depth", [13, 16, 19])
def test_vgg_grows_by_layers_after_those_of_the_shallow_one(depth):
    image = np.zeros((1, 32, 32, 1), np.float32)
    networks = (models.create(f"vgg{d}", 3, width=1, hidden=(2,)) for d in (11, depth))
    old, fresh = (draw(network, i, image) for i, network in enumerate(networks))
    counts = {13: (1, 1, 0, 0, 0), 16: (1, 1, 1, 1, 1), 19: (1, 1, 2, 2, 2)}[depth]
    stages = ("stem", "stage1", "stage2", "stage3", "stage4")
    last = {"stem": 1, "stage1": 1, "stage2": 2, "stage3": 2, "stage4": 2}
    wanted = [
        f"{stage}/conv{last[stage] + i}"
        for stage, count in zip(stages, counts, strict=True)
        for i in range(1, count + 1)
    ]
    assert deepening.new_layers(old, fresh) == tuple(sorted(wanted))
    grown = flatten_dict(deepening.deepen(old, fresh))
    for path, leaf in grown.items():
        source = fresh if "/".join(path[1:-1]) in wanted else old
        np.testing.assert_array_equal(leaf, flatten_dict(source)[path])
    # The paper's way: the convolutions after the first four are initialised again.
    some = deepening.deepen(old, fresh, reinitialise=("stage3", "stage4"))
    for stage in ("stage3", "stage4"):
        assert some["params"][stage] is not None
        jax.tree.map(np.testing.assert_array_equal, some["params"][stage], fresh["params"][stage])
    np.testing.assert_array_equal(
        some["params"]["stage2"]["conv2"]["kernel"], old["params"]["stage2"]["conv2"]["kernel"]
    )


def test_each_member_grows_from_its_own_shallow_network(quick_jit):
    shallow, deep = PAIRS["perceptrons"]

    def several(network, offset):
        all_ = [with_fresh_constants(draw(network, offset + seed)) for seed in range(2)]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *all_)

    def one(old, fresh):
        return deepening.deepen_with_identity(deep, old, fresh, IMAGES)

    old, fresh = several(shallow, 0), several(deep, 10)
    together = quick_jit(jax.vmap(one))(old, fresh)
    kernel = together["params"]["stage1"]["dense"]["kernel"]
    np.testing.assert_array_equal(kernel, old["params"]["stage1"]["dense"]["kernel"])
    means = np.asarray(together["batch_stats"]["stage3"]["norm"]["mean"])
    assert np.abs(means[0] - means[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("shallow", "deep", "message"),
    [
        (("plain8", {"width": 2}), ("plain20", {"width": 4}), "must have the same shapes"),
        (("plain20", {"width": 2}), ("plain8", {"width": 2}), "lacks stage1/block1/conv1/kernel"),
        (("plain8", {"width": 2}), ("mlp", {}), "Grow a network of the same family"),
        (
            ("resnet8", {"width": 2}),
            ("resnet20", {"width": 2}),
            "must have shortcut none for .*, got A",
        ),
        (
            ("plain8", {"width": 2, "activation": "tanh"}),
            ("plain20", {"width": 2, "activation": "tanh"}),
            "activation relu or identity",
        ),
        (
            ("plain8", {"width": 2, "norm": "group"}),
            ("plain20", {"width": 2, "norm": "group"}),
            "norm batch or none",
        ),
        (("mlp", {"widths": (4,)}), ("mlp", {"widths": (4, 3)}), "shapes"),
        (("mlp", {"widths": ()}), ("mlp", {"widths": (64,)}), "stage1 is new"),
    ],
)
def test_networks_that_do_not_contain_the_shallow_one_or_are_not_the_identity_are_refused(
    shallow, deep, message
):
    networks = [models.create(name, 3, **options) for name, options in (shallow, deep)]
    old, fresh = (draw(network, 0) for network in networks)
    with pytest.raises(ValueError, match=message):
        deepening.deepen_with_identity(networks[1], old, fresh, IMAGES)


def test_a_new_layer_narrower_than_its_input_cannot_be_the_identity():
    shallow, deep = (models.create("mlp", 4, widths=w) for w in ((4, 3), (4, 3, 3)))
    old, fresh = draw(shallow, 0), draw(deep, 1)
    fresh["params"]["stage3"]["dense"]["kernel"] = np.zeros((3, 5), np.float32)
    with pytest.raises(ValueError, match="as many outputs as inputs"):
        deepening.deepen_with_identity(deep, old, fresh, IMAGES)


def test_an_unknown_stage_is_refused():
    shallow, deep = PAIRS["perceptrons"]
    with pytest.raises(ValueError, match="unknown stage"):
        deepening.deepen(draw(shallow, 0), draw(deep, 0), reinitialise=("stage9",))
    with pytest.raises(ValueError, match="reinitialise must be a tuple"):
        deepening.deepen(draw(shallow, 0), draw(deep, 0), reinitialise="stage3")
