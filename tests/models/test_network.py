"""The row of stages: any part of it runs, and the parts make the whole."""

import re

import flax.linen as nn
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cnnlab import models

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
    ("name", "said"),
    [
        ("stag1", "Did you mean 'stage1'? Known: stem, stage1, head"),
        ("Head", "Did you mean 'head'? Known: stem, stage1, head"),
        ("conv", "Known: stem, stage1, head"),
    ],
)
def test_an_unknown_stage_is_answered_with_the_nearest_and_all(use, name, said):
    with pytest.raises(ValueError, match=re.escape(f"unknown stage {name!r}. {said}")):
        use(name)


def test_a_stop_before_the_start_is_refused():
    with pytest.raises(ValueError, match=r"stop='stem' lies before start='head'"):
        ROW.apply({}, jnp.zeros(()), start="head", stop="stem")
