"""Update rules against PyTorch's numbers and formulas by hand."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from jax import numpy as jnp

from cnnlab import optim, schedules


def descend(optimizer, params, gradients):
    """The parameters after one update for each of ``gradients``."""
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


@pytest.mark.parametrize("name", ["sgd", "sgd without momentum", "nesterov", "adam", "adamw"])
@pytest.mark.parametrize("clipped", [False, True])
def test_updates_are_pytorchs(reference, name, clipped):
    """With PyTorch's decay on the kernel only; its clipping adds 1e-6 to the norm, hence 1e-5."""
    script, numbers = reference("optim_torch")
    with jax.enable_x64(True):
        optimizer = optim.create(
            name.split()[0],
            script.LEARNING_RATE,
            momentum=script.SETTINGS[name]["momentum"],
            weight_decay=script.WEIGHT_DECAY,
            clip=script.CLIP if clipped else None,
        )
        start = jax.tree.map(jnp.asarray, script.start())
        got = descend(optimizer, start, jax.tree.map(jnp.asarray, script.gradients()))
    want = numbers[f"{name} clipped" if clipped else name]
    for leaf in ("kernel", "bias"):
        rtol = 1e-5 if clipped else 1e-9
        np.testing.assert_allclose(got[leaf], want[leaf], rtol=rtol)


def test_decay_falls_on_kernels_at_any_depth_and_on_nothing_else():
    params = {
        "stem": {"conv": {"kernel": 0, "bias": 0}, "norm": {"scale": 0, "bias": 0}},
        "kernel": {"scale": 0},
        "head": {"kernel": 0},
    }
    assert optim.kernels(params) == {
        "stem": {"conv": {"kernel": True, "bias": False}, "norm": {"scale": False, "bias": False}},
        "kernel": {"scale": False},
        "head": {"kernel": True},
    }


PARAMS = {"kernel": jnp.asarray([2.0, -4.0]), "bias": jnp.asarray([1.0]), "scale": jnp.ones(1)}
ZEROS = jax.tree.map(jnp.zeros_like, PARAMS)


@pytest.mark.parametrize("name", ["sgd", "nesterov", "adam", "adamw"])
def test_without_gradient_only_decayed_kernels_move(name):
    got = descend(optim.create(name, 0.1, weight_decay=0.01), PARAMS, [ZEROS])
    np.testing.assert_array_equal(got["bias"], PARAMS["bias"])
    np.testing.assert_array_equal(got["scale"], PARAMS["scale"])
    assert (np.abs(got["kernel"]) < np.abs(PARAMS["kernel"])).all()
    still = descend(optim.create(name, 0.1, weight_decay=0.0), PARAMS, [ZEROS])
    np.testing.assert_array_equal(still["kernel"], PARAMS["kernel"])


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Linear:
    """A layer as other libraries have it: an object with attributes."""

    weight: jax.Array
    bias: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Dense:
    """The same with the name that decays."""

    kernel: jax.Array
    bias: jax.Array


FOREIGN = {"layers": [Linear(jnp.ones((2, 3)), jnp.ones(3))]}


@pytest.mark.parametrize("varied", [False, True])
@pytest.mark.parametrize("name", optim.NAMES)
def test_a_decay_that_nothing_matches_is_refused(name, varied):
    with pytest.raises(ValueError, match=r"weight_decay=0.01 .*no effect.*layers/0/weight"):
        optim.create(name, 0.1, weight_decay=0.01, varied=varied).init(FOREIGN)
    optim.create(name, 0.1, weight_decay=0.0, varied=varied).init(FOREIGN)
    # Where only biases and scales learn there is nothing to decay.
    optim.create(name, 0.1, weight_decay=0.01, varied=varied).init({"norm": {"scale": jnp.ones(3)}})


def test_a_decay_of_members_that_nothing_matches_is_refused():
    members = jax.tree.map(lambda x: jnp.stack([x, x]), FOREIGN)
    state = jax.vmap(optim.create("sgd", 0.1, varied=True).init)(members)
    optim.set_hyperparameters(state, {"weight_decay": [0.0, 0.0]})
    with pytest.raises(ValueError, match=r"weight_decay .*no effect"):
        optim.set_hyperparameters(state, {"weight_decay": [0.0, 0.1]})


def test_attributes_called_kernel_decay_like_keys():
    params = {"layers": [Dense(jnp.ones((2, 3)), jnp.ones(3))]}
    zeros = jax.tree.map(jnp.zeros_like, params)
    (got,) = descend(optim.sgd(0.1, weight_decay=0.5), params, [zeros])["layers"]
    np.testing.assert_allclose(got.kernel, 1 - 0.1 * 0.5)
    np.testing.assert_array_equal(got.bias, 1)


def test_keeping_zeros_of_weights_called_otherwise_is_refused():
    with pytest.raises(ValueError, match=r"keep_zeros .*no effect"):
        optim.keep_zeros().update(FOREIGN, optax.EmptyState(), FOREIGN)


def test_decoupled_decay_shrinks_kernels_by_rate_times_decay_whatever_the_gradient():
    got = descend(optim.adamw(0.1, weight_decay=0.01), PARAMS, [ZEROS] * 3)
    np.testing.assert_allclose(got["kernel"], PARAMS["kernel"] * (1 - 0.001) ** 3, rtol=1e-6)


def test_decay_in_the_gradient_is_an_l2_penalty():
    got = descend(optim.sgd(0.1, momentum=0.0, weight_decay=0.5), PARAMS, [ZEROS])
    np.testing.assert_allclose(got["kernel"], PARAMS["kernel"] * (1 - 0.1 * 0.5), rtol=1e-6)


def test_momentum_and_nesterov_are_the_formulas():
    params, ones = {"bias": jnp.zeros(1)}, {"bias": jnp.ones(1)}
    heavy = descend(optim.sgd(1.0, momentum=0.5), params, [ones] * 3)
    assert float(heavy["bias"][0]) == pytest.approx(-(1 + 1.5 + 1.75))
    ahead = descend(optim.sgd(1.0, momentum=0.5, nesterov=True), params, [ones] * 3)
    assert float(ahead["bias"][0]) == pytest.approx(-(1.5 + 1.75 + 1.875))


def test_clipping_bounds_the_global_norm_before_decay():
    gradient = {
        "kernel": jnp.asarray([3.0, 0.0]),
        "bias": jnp.asarray([4.0]),
        "scale": jnp.zeros(1),
    }
    optimizer = optim.sgd(1.0, momentum=0.0, weight_decay=0.5, clip=2.5)
    got = descend(optimizer, PARAMS, [gradient])
    np.testing.assert_allclose(got["kernel"], [2 - (1.5 + 1.0), -4 - (0 - 2.0)], rtol=1e-6)
    np.testing.assert_allclose(got["bias"], [1 - 2.0], rtol=1e-6)


def test_clipping_leaves_a_small_gradient_as_it_is():
    gradient = {**ZEROS, "bias": jnp.asarray([0.75])}
    got = descend(optim.sgd(1.0, momentum=0.0, clip=1.0), PARAMS, [gradient])
    assert float(got["bias"][0]) == 0.25


@pytest.mark.parametrize("make", [optim.sgd, optim.adam, optim.adamw])
def test_the_first_update_has_the_schedules_rate_at_step_zero(make):
    ones = jax.tree.map(jnp.ones_like, PARAMS)
    scheduled = descend(make(schedules.step(0.25, [1], 1e-9)), PARAMS, [ones, ones])
    alone = descend(make(0.25), PARAMS, [ones])
    np.testing.assert_allclose(scheduled["bias"], alone["bias"], rtol=1e-6)
    assert float(alone["bias"][0]) == pytest.approx(0.75, rel=1e-5)


@pytest.mark.parametrize("make", [optim.sgd, optim.adam, optim.adamw])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0.0}, "learning rate must be positive, got 0.0"),
        ({"learning_rate": float("nan")}, "learning rate must be positive"),
        ({"weight_decay": -1e-4}, "weight_decay must be >= 0, got -0.0001"),
        ({"clip": 0.0}, "clip must be a positive norm or None, got 0.0"),
    ],
)
def test_numbers_out_of_range_are_refused(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**{"learning_rate": 0.1, **arguments})


@pytest.mark.parametrize("momentum", [1.0, -0.1, float("nan")])
@pytest.mark.parametrize("name", optim.NAMES)
def test_a_momentum_out_of_range_is_refused(name, momentum):
    for varied in (False, True):
        with pytest.raises(ValueError, match=r"momentum.* must be in \[0, 1\)"):
            optim.create(name, 0.1, momentum=momentum, varied=varied)


@pytest.mark.parametrize("varied", [False, True])
def test_an_unknown_rule_is_answered_with_the_nearest(varied):
    with pytest.raises(ValueError, match="unknown optimiser 'adamv'.*Did you mean 'adam"):
        optim.create("adamv", 0.1, varied=varied)


def test_weights_that_are_zero_stay_so_and_the_others_do_not(quick_jit):
    """With momentum and decay; a bias that is zero is no pruned weight."""
    params = {"kernel": jnp.array([[0.0, 1.0], [2.0, 0.0]]), "bias": jnp.zeros(2)}
    gradient = jax.tree.map(jnp.ones_like, params)
    optimizer = optax.chain(optim.sgd(0.1, weight_decay=0.01), optim.keep_zeros())

    @quick_jit
    def twice(params):
        state = optimizer.init(params)
        for _ in range(2):
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        return params

    updated = twice(params)
    assert (np.asarray(updated["kernel"]) == 0).tolist() == [[True, False], [False, True]]
    first = 1 - 0.1 * 1.01
    wanted = first - 0.1 * (0.9 * 1.01 + 1 + 0.01 * first)
    np.testing.assert_allclose(updated["kernel"][0, 1], wanted, rtol=1e-6)
    np.testing.assert_allclose(updated["bias"], [-0.29, -0.29], rtol=1e-6)
    with pytest.raises(ValueError, match="needs the parameters"):
        optim.keep_zeros().update(gradient, optax.EmptyState())
