"""Magnitude pruning: pruned weights, which stay zero, and the initial values of the others."""

import warnings

import jax
import numpy as np
import optax
import pytest
from jax import numpy as jnp

from cnnlab import augment, data, models, optim
from cnnlab.mesh import make_mesh
from cnnlab.train import Recipe, fit
from cnnlab.train.program import initialise
from cnnlab.train.state import restarted
from cnnlab.transfer import pruning

# 10 + 6 + 4 kernel weights; |w| over all kernels rises as 1, 2, 3 ... 20 in a shuffled order.
ranks = np.random.default_rng(0).permutation(20) + 1.0
SIGNS = np.where(np.arange(20) % 3, 1.0, -1.0)


def network(magnitudes=ranks):
    w = jnp.asarray(magnitudes * SIGNS, jnp.float32)
    return {
        "stage1": {
            "conv": {"kernel": w[:10].reshape(1, 5, 2, 1), "bias": jnp.zeros(1)},
            "norm": {"scale": jnp.full(3, 1e-6)},
        },
        "stage2": {"dense": {"kernel": w[10:16].reshape(2, 3), "bias": jnp.full(3, 1e-7)}},
        "head": {"dense": {"kernel": w[16:].reshape(2, 2), "bias": jnp.zeros(2)}},
    }


def weights(params):
    """All kernel weights in the order of ranks."""
    kernels = (params["stage1"]["conv"], params["stage2"]["dense"], params["head"]["dense"])
    return np.concatenate([np.ravel(layer["kernel"]) for layer in kernels])


@pytest.mark.filterwarnings("ignore:pruning left no weight")
@pytest.mark.parametrize("sparsity", [0.0, 0.33, 0.62, 0.9])
def test_the_smallest_weights_of_all_go_and_no_bias_or_scale(sparsity):
    pruned = pruning.prune(network(), sparsity)
    zeros = round(sparsity * 20)
    np.testing.assert_array_equal(weights(pruned) == 0, ranks <= zeros)
    np.testing.assert_array_equal(weights(pruned)[ranks > zeros], weights(network())[ranks > zeros])
    assert float(pruning.sparsity(pruned)) == pytest.approx(zeros / 20)
    assert int(pruning.parameters_left(pruned)) == 20 - zeros + 9
    for stage, layer in (("stage1", "norm"), ("stage2", "dense"), ("head", "dense")):
        for name, leaf in network()[stage][layer].items():
            if name != "kernel":
                np.testing.assert_array_equal(pruned[stage][layer][name], leaf)


def test_by_layer_each_kernel_loses_its_own_share():
    pruned = pruning.prune(network(), 0.5, scope="layer")
    for part in (slice(0, 10), slice(10, 16), slice(16, 20)):
        own = ranks[part]
        gone = own <= np.sort(own)[len(own) // 2 - 1]
        np.testing.assert_array_equal(weights(pruned)[part] == 0, gone)
    left = {name: int(count) for name, count in pruning.weights_left(pruned).items()}
    assert left == {
        "stage1/conv/kernel": 5,
        "stage2/dense/kernel": 3,
        "head/dense/kernel": 2,
    }


@pytest.mark.parametrize("scope", pruning.SCOPES)
def test_a_stage_can_be_spared_or_have_a_sparsity_of_its_own(scope):
    pruned = pruning.prune(network(), 0.75, scope=scope, stages={"head": 0.25, "stage2": 0})
    gone = weights(pruned) == 0
    assert gone[16:].sum() == 1 and gone[16:][np.argmin(ranks[16:])]
    assert not gone[10:16].any()
    assert gone[:10].sum() == 8  # round(7.5), to the even one
    assert ranks[:10][gone[:10]].max() < ranks[:10][~gone[:10]].min()


def test_kernels_of_two_dtypes_are_ranked_together_and_keep_them():
    params = network()
    params["head"]["dense"]["kernel"] = params["head"]["dense"]["kernel"].astype(jnp.bfloat16)
    pruned = pruning.prune(params, 0.5)
    np.testing.assert_array_equal(weights(pruned) == 0, ranks <= 10)
    assert jax.tree.map(jnp.dtype, pruned) == jax.tree.map(jnp.dtype, params)


def test_pruning_in_rounds_prunes_further():
    once = pruning.prune(network(), 0.3)
    trained = jax.tree.map(lambda x: x * 1.01, once)
    np.testing.assert_array_equal(
        weights(pruning.prune(trained, 0.6)) == 0, weights(pruning.prune(network(), 0.6)) == 0
    )


def test_each_member_is_pruned_by_its_own_magnitudes(quick_jit):
    other = network(np.roll(ranks, 7))
    both = jax.tree.map(lambda *leaves: np.stack(leaves), network(), other)
    alone = [pruning.prune(each, 0.45) for each in (network(), other)]
    mapped = quick_jit(jax.vmap(lambda params: pruning.prune(params, 0.45)))(both)
    for actual in (pruning.prune(both, 0.45, members=True), mapped):
        for i, wanted in enumerate(alone):
            jax.tree.map(lambda x, y, i=i: np.testing.assert_array_equal(x[i], y), actual, wanted)
    assert (weights(alone[0]) != weights(alone[1])).any()
    left = quick_jit(jax.vmap(lambda p: (pruning.sparsity(p), pruning.parameters_left(p))))(mapped)
    np.testing.assert_allclose(left[0], 0.45)
    np.testing.assert_array_equal(left[1], [20, 20])


def test_rewound_weights_have_their_initial_values_and_pruned_ones_are_zero():
    pruned = pruning.prune(network(), 0.5)
    initial = jax.tree.map(lambda x: x + 100, network())
    ticket = pruning.rewind(pruned, initial)
    wanted = np.where(ranks <= 10, 0, weights(network()) + 100)
    np.testing.assert_array_equal(weights(ticket), wanted)
    np.testing.assert_array_equal(ticket["stage1"]["norm"]["scale"], jnp.full(3, 1e-6) + 100)


@pytest.fixture(scope="module")
def recipe():
    network = models.mlp(3, widths=(8,), norm="batch")
    rule = optim.sgd(0.1, momentum=0.9, nesterov=True, weight_decay=1e-2)
    optimizer = optax.chain(rule, optim.keep_zeros())
    return Recipe(network, optimizer, augment.normalize((128.0,), (64.0,)), ema_decay=0.9)


@pytest.mark.filterwarnings("ignore:pruning left no weight")
def test_pruned_weights_stay_zero_through_training_and_the_others_move(recipe):
    train = data.load("synthetic:60:4x4x1:3", validation=None).train
    seeds, mesh = (0, 1), make_mesh(2)
    fresh, _ = initialise(recipe, train, jnp.asarray(seeds, jnp.uint32), mesh)
    pruned = pruning.prune(fresh.params, 0.7, members=True)
    start = restarted(recipe, pruned, fresh.model_state)
    jax.tree.map(
        lambda x, y: np.testing.assert_equal((x.shape, x.dtype), (y.shape, y.dtype)), start, fresh
    )
    *_, last = fit(recipe, train, epochs=2, batch_size=20, seeds=seeds, mesh=mesh, initial=start)
    assert last.step == 6
    for end in (last.states.params, last.states.average.params):
        for stage in ("stage1", "head"):
            before, after = pruned[stage]["dense"]["kernel"], end[stage]["dense"]["kernel"]
            np.testing.assert_array_equal(after == 0, before == 0)
            moved = np.abs(after - before)[np.asarray(before != 0)]
            assert (moved > 0).mean() > 0.95
        assert (end["stage1"]["norm"]["scale"] != 1).any()
    assert (
        (pruned["head"]["dense"]["kernel"] == 0)[0] != (pruned["head"]["dense"]["kernel"] == 0)[1]
    ).any()
    # The next round prunes the weights that training left nearest to zero.
    again = pruning.prune(last.states.params, 0.9, members=True)
    np.testing.assert_allclose(jax.vmap(pruning.sparsity)(again), round(0.9 * 152) / 152, rtol=1e-6)


def test_a_restart_has_a_fresh_optimizer_state(recipe):
    params = jax.tree.map(lambda x: jnp.stack([x, x]), {"head": network()["head"]})
    state = restarted(recipe, params, {"batch_stats": {"mean": jnp.ones((2, 3))}})
    assert state.step.tolist() == [0, 0]
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(state.opt_state))
    np.testing.assert_array_equal(state.average.model_state["batch_stats"]["mean"], 1)


def test_the_sparsities_of_rounds():
    # Frankle and Carbin prune 20 % a round: 80.0, 64.0, 51.2, 41.1 ... % are left (figure 3).
    left = 100 - 100 * np.array(pruning.geometric_sparsities(0.2, 4))
    np.testing.assert_allclose(left, [80, 64, 51.2, 40.96])
    half = pruning.scale_pruning_rate(pruning.geometric_sparsities(0.2, 4), 0.5)
    np.testing.assert_allclose(half, pruning.geometric_sparsities(0.1, 4))
    np.testing.assert_allclose(pruning.scale_pruning_rate((0.5, 0.6), 0.5), [0.25, 1 - 0.75 * 0.9])
    np.testing.assert_allclose(pruning.scale_pruning_rate((0.5, 0.6), 1), [0.5, 0.6])
    assert pruning.scale_pruning_rate((0.5, 0.6), 0) == (0, 0)
    assert pruning.check_sparsities([0.5, 0.75]) == (0.5, 0.75)


def test_a_layer_without_a_weight_left_is_warned_of():
    small = network(np.where(np.arange(20) < 16, ranks + 10, ranks / 100))
    with pytest.warns(UserWarning, match="no weight in head/dense/kernel"):
        pruning.prune(small, 0.25)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pruning.prune(small, 0.25, scope="layer")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: pruning.prune(p, 1.0), r"sparsity must be in \[0, 1\), got 1.0"),
        (lambda p: pruning.prune(p, -0.1), r"in \[0, 1\), got -0.1"),
        (lambda p: pruning.prune(p, float("nan")), r"in \[0, 1\), got nan"),
        (lambda p: pruning.prune(p, 0.5, stages={"head": 1}), r"in \[0, 1\), got 1"),
        (lambda p: pruning.prune(p, 0.5, stages={"haed": 0}), "Did you mean 'head'"),
        (lambda p: pruning.prune(p, 0.5, scope="layers"), "Did you mean 'layer'"),
        (lambda p: pruning.prune({"head": {"bias": jnp.ones(2)}}, 0.5), "leaf named kernel"),
        (
            lambda p: pruning.prune(pruning.prune(p, 0.5), 0.4),
            "must not fall: 10 weights of the kernels are zero already, and only 8 would be",
        ),
        (
            lambda p: pruning.prune(pruning.prune(p, 0.5), 0.5, stages={"head": 0}),
            "weights of head/dense/kernel are zero already, and only 0",
        ),
        (lambda p: pruning.rewind(p, {**p, "head": p["stage2"]}), "differ in head/dense"),
        (lambda p: pruning.geometric_sparsities(1, 3), r"rate must be in \(0, 1\)"),
        (lambda p: pruning.geometric_sparsities(0.2, 0), "at least 1 round"),
        (lambda p: pruning.check_sparsities([0.5, 0.5]), "lie in .0, 1. and rise"),
        (lambda p: pruning.check_sparsities([0.5, 1.0]), "lie in .0, 1. and rise"),
        (lambda p: pruning.check_sparsities([]), "lie in .0, 1. and rise"),
        (lambda p: pruning.scale_pruning_rate([0.5], 1.5), r"factor must be in \[0, 1\]"),
    ],
)
def test_invalid_pruning_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(network())
